#!/usr/bin/env bash
# ExecuTorch's Python runtime takes a tensor whose strides are those of channels_last without a word where the program
# was exported with a contiguous one, and reads its memory in the order of the program: other depth, no error. An image
# that NumPy or Pillow made [h w 3] and that was permuted to [1 3 h w] is such a tensor. Strides that are neither
# contiguous nor channels_last are refused, so there is a check, but it asks for either and not for that of the program;
# torch itself takes every layout and gives the same numbers.
#
# executorch 1.5.1 beside torch 2.15.0, Linux, with XNNPACK and without, seen:
#   "contiguous 1.3e-07, channels_last 6.2e-01, other strides: refused"
# Expected by most: the input is brought to the layout of the program, or refused.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 executorch==1.5.1 torchao==0.18.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { tail -5 "$folder/log"; exit 1; }
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime

torch.manual_seed(0)
network = torch.nn.Conv2d(3, 4, 3, padding=1).eval()
image = torch.rand(1, 3, 8, 8)
rows = torch.rand(1, 3, 8, 16)[..., ::2]
for partitioner in ([XnnpackPartitioner()], []):
    program = to_edge_transform_and_lower(torch.export.export(network, (image,)), partitioner=partitioner)
    content = program.to_executorch().buffer  # the runtime keeps no hold of it
    loaded = Runtime.get().load_program(content)
    method = loaded.load_method("forward")
    with torch.no_grad():
        wanted = network(image)
    gaps = [
        (method.execute([given])[0] - wanted).abs().max().item()
        for given in (image, image.contiguous(memory_format=torch.channels_last))
    ]
    try:
        method.execute([rows])
        other = "taken"
    except RuntimeError:
        other = "refused"
    print(f"contiguous {gaps[0]:.1e}, channels_last {gaps[1]:.1e}, other strides: {other}")
    assert gaps[0] < 1e-5, "the contiguous image differs as well"
    assert gaps[1] > 1e-2, "the layout of the input is taken into account now"
    assert other == "refused", "other strides are no longer refused"
PYTHON
