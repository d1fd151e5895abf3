#!/usr/bin/env bash
# torch.optim.AdamW(fused=True) on a CPU reads parameter, gradient and moments in the order of memory. Where a state
# dictionary that was saved with contiguous weights is loaded beside weights that are channels_last (or the other way
# round), load_state_dict keeps the strides of the saved moments, and the next step pairs every weight with the moment
# of another: no error, other weights. The unfused optimiser of the same version takes the strides into account.
#
# torch 2.15.0, on a CPU, seen: "largest difference to an optimiser that was never saved: plain 0.0e+00, fused 2.6e-02"
# Expected by most: load_state_dict brings moments to the layout of their parameters, or fused steps check strides.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.15.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import copy

import torch


def loaded_in_other_layout(fused: bool) -> float:
    """Largest difference between weights whose optimiser went through a state dictionary and those of one that did not."""
    torch.manual_seed(0)
    start = torch.nn.Conv2d(4, 8, 3)
    gradients = [torch.randn(8, 4, 3, 3) for _ in range(4)]
    ends = []
    for saved in (False, True):
        layer = copy.deepcopy(start)
        optimiser = torch.optim.AdamW([layer.weight], lr=1e-2, fused=fused)
        for number, gradient in enumerate(gradients):
            if saved and number == 2:
                state = copy.deepcopy(optimiser.state_dict())
                layer = layer.to(memory_format=torch.channels_last)
                optimiser = torch.optim.AdamW([layer.weight], lr=1e-2, fused=fused)
                optimiser.load_state_dict(state)
            layer.weight.grad = torch.empty_like(layer.weight).copy_(gradient)
            optimiser.step()
        ends.append(layer.weight.detach().contiguous())
    return (ends[0] - ends[1]).abs().max().item()


plain, fused = (loaded_in_other_layout(fused) for fused in (False, True))
print(f"torch {torch.__version__}: largest difference to an optimiser that was never saved: plain {plain:.1e}, fused {fused:.1e}")
assert plain < 1e-6, "the plain optimiser differs as well"
assert fused > 1e-3, "fused steps take strides into account now"
PYTHON
