#!/usr/bin/env bash
# With one thread, torch computes convolutions of one pixel (1x1, neither strided nor dilated) of fewer than 16 images
# as matrix products of its BLAS instead of with oneDNN; with two threads, with 16 images, or for any larger filter it
# is oneDNN. Depth networks are mostly such convolutions over large maps. So a network measured with one thread is not
# the one that is measured with two: kernels change, and with them rounding and, on processors that MKL does not like,
# two to three times the time of these layers. Setting `dilation = 2`, which moves nothing in a filter of one pixel,
# brings oneDNN back; channels_last, bfloat16 and evaluation mode play no part in it.
#
# torch 2.15.0 (CPU, float32), seen: "1 thread: products; 2 threads: oneDNN; 1 thread, 16 images: oneDNN; 1 thread,
# dilation 2: oneDNN, equal to the plain one within 1e-4: True"
# Expected by most: the number of threads divides the same work.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { tail -5 "$folder/log"; exit 1; }
import torch
from torch.profiler import ProfilerActivity, profile

NAMES = {"aten::mkldnn_convolution": "oneDNN", "aten::_slow_conv2d_forward": "products"}
torch.manual_seed(0)
layer = torch.nn.Conv2d(32, 64, 1).eval()
outputs = {}


def kernel(threads: int, images: int, dilation: int) -> str:
    torch.set_num_threads(threads)
    layer.dilation = (dilation, dilation)
    image = torch.rand(images, 32, 48, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as seen:
        outputs[threads, images, dilation] = layer(image)
    return " and ".join(NAMES[event.key] for event in seen.key_averages() if event.key in NAMES)


alone, helped, many, dilated = kernel(1, 1, 1), kernel(2, 1, 1), kernel(1, 16, 1), kernel(1, 1, 2)
same = torch.allclose(outputs[1, 1, 1], outputs[1, 1, 2], rtol=0, atol=1e-4)
print(
    f"1 thread: {alone}; 2 threads: {helped}; 1 thread, 16 images: {many}; 1 thread, dilation 2: {dilated}, "
    f"equal to the plain one within 1e-4: {same}"
)
assert helped == many == dilated == "oneDNN" and same, "the comparison is broken"
assert alone == "products", "one thread takes oneDNN now"
PYTHON
