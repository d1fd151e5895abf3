#!/usr/bin/env bash
# XNNPACKQuantizer turns the number in `index + 1` into a tensor of floats before it looks at what it was asked to
# quantise, so the sum of integers becomes one of floats, and a lookup by it ends in an IndexError when the watched
# program sees its first image. Asked for convolutions alone (set_operator_type) it does the same to a table that no
# convolution knows of, as a calibrated error or a colour map is; the program of torch.export runs as it is.
#
# torch 2.15.0, torchao 0.18.0, XNNPACKQuantizer of executorch 1.5.1, seen: "exported: runs; prepared, global:
# IndexError; prepared, convolutions alone: IndexError; table[index] without a sum: runs"
# Expected by most: what is not quantised stays as it was.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 executorch==1.5.1 torchao==0.18.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { tail -5 "$folder/log"; exit 1; }
import torch
from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as xnnpack
from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e


class Calibrated(torch.nn.Module):
    def __init__(self, between: bool) -> None:
        super().__init__()
        self.between = between
        self.features = torch.nn.Conv2d(3, 1, 3)
        self.register_buffer("table", torch.linspace(0.0, 1.0, 9))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        place = 7 * self.features(image).sigmoid()
        index = place.long()
        low = self.table[index]
        return low + (place - index) * (self.table[index + 1] - low) if self.between else low


CONFIG = xnnpack.get_symmetric_quantization_config(is_per_channel=True)
EVERYTHING = xnnpack.XNNPACKQuantizer().set_global(CONFIG)
CONVOLUTIONS = xnnpack.XNNPACKQuantizer().set_operator_type(torch.ops.aten.conv2d.default, CONFIG)


def outcome(between: bool, quantiser: xnnpack.XNNPACKQuantizer | None) -> str:
    image = torch.rand(1, 3, 16, 16)
    module = torch.export.export(Calibrated(between).eval(), (image,)).module()
    try:
        (module if quantiser is None else prepare_pt2e(module, quantiser))(image)
    except IndexError as error:
        return type(error).__name__
    return "runs"


exported, whole, part = outcome(True, None), outcome(True, EVERYTHING), outcome(True, CONVOLUTIONS)
plain = outcome(False, CONVOLUTIONS)
print(f"exported: {exported}; prepared, global: {whole}; prepared, convolutions alone: {part}; ", end="")
print(f"table[index] without a sum: {plain}")
assert exported == plain == "runs", "the comparison is broken"
assert whole == part == "IndexError", "numbers in sums of integers are left alone now"
PYTHON
