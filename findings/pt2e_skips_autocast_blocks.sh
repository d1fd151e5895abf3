#!/usr/bin/env bash
# PT2E quantisation (torchao) leaves every layer inside `with torch.autocast(..., enabled=False)` in 32 bits, silently:
# torch.export makes such a block a graph of its own (wrap_with_autocast), and quantisers annotate the outer graph only.
# A network whose forward stands in such a block comes out with no layer of 8 bits at all, and nothing says so.
# `program.run_decompositions({})` before `.module()` brings the block into the outer graph.
#
# torch 2.15.0, torchao 0.18.0, XNNPACKQuantizer of executorch 1.5.1, seen: "layers of 8 bits: plain 2, in a block 0,
# in a block after run_decompositions 2"
# Expected by most: a block that switches autocast off changes nothing where autocast is off anyway.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 executorch==1.5.1 torchao==0.18.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { tail -5 "$folder/log"; exit 1; }
import torch
from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as xnnpack
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e


class Network(torch.nn.Module):
    def __init__(self, block: bool) -> None:
        super().__init__()
        self.block = block
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if not self.block:
            return self.layers(image)
        with torch.autocast("cpu", enabled=False):
            return self.layers(image)


def layers_of_eight_bits(block: bool, flat: bool) -> int:
    """Weights that are kept in 8 bits after quantisation, wherever in the program they stand."""
    image = torch.rand(1, 3, 16, 16)
    program = torch.export.export(Network(block).eval(), (image,))
    module = (program.run_decompositions({}) if flat else program).module()
    config = xnnpack.get_symmetric_quantization_config(is_per_channel=True)
    watched = prepare_pt2e(module, xnnpack.XNNPACKQuantizer().set_global(config))
    watched(image)
    small = convert_pt2e(watched)
    return sum(values.dtype == torch.int8 and values.ndim == 4 for values in small.state_dict().values())


plain, block, flat = layers_of_eight_bits(False, False), layers_of_eight_bits(True, False), layers_of_eight_bits(True, True)
print(f"layers of 8 bits: plain {plain}, in a block {block}, in a block after run_decompositions {flat}")
assert plain == flat == 2, "the comparison is broken"
assert block == 0, "layers inside autocast blocks are quantised now"
PYTHON
