"""How large an error goes with a disagreement of a stack's learners, learnt on rows that they never saw."""

import json
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ensemble.data.division import Role
from ensemble.metrics.uncertainty import (
    Calibration,
    calibrate,
    disagreement,
)
from ensemble.runs.paths import Outputs
from ensemble.runs.refusals import refuse_unreadable
from ensemble.runs.seals import read_text, write_sealed
from ensemble.stacking.stack import Stack, stack_maps
from ensemble.stacking.training_rows import PIXELS_PER_FRAME, training_rows
from ensemble.training.networks import weights_fingerprint

SCHEMA = 1


def shares_of(stack: Stack, maps: Tensor) -> Tensor:
    """Weights [b k h w] as shares that sum to one; free weights count by their size, whatever the sign.

    Where all of them are 0, the learners share equally.
    """
    weights = maps[:, : len(stack.learners)]
    if stack.network.weights != "free":
        return weights
    size = weights.abs()
    total = size.sum(dim=1, keepdim=True)
    return torch.where(total > 0, size / total, 1 / len(stack.learners))


def doubt(stack: Stack, maps: Tensor, depths: Tensor) -> Tensor:
    """Weighted disagreement [b 1 h w] of the learners about the fused depth, in metres, not calibrated."""
    return disagreement(shares_of(stack, maps), depths, stack.network.fuse(maps, depths))


def calibrated_on(stack: Stack) -> Literal["oof", "validation"]:
    """Rows that a stack's uncertainty is calibrated with: out-of-fold ones where it was fitted to such."""
    return "oof" if stack.learners[0].folds else "validation"


def calibration_of(stack: Stack, outputs: Outputs) -> Calibration:
    """How large an error goes with a disagreement, learnt on rows that the learners never saw.

    That is out-of-fold rows, or validation scenes where the stack was not fitted to any. The meta-learner itself was
    fitted to the former, if to few parameters for so many pixels, so what it says of them may be a little too sure. It
    is computed once and kept in the stack's run, with the fingerprint of the weights that it belongs to.
    """
    path, role = stack.run.uncertainty, calibrated_on(stack)
    belongs_to = weights_fingerprint(stack.settings, stack.run)
    if path.is_file():
        try:
            kept = json.loads(read_text(path))
        except ValueError as error:
            refuse_unreadable(path, error)
            raise ValueError(
                f"{path}: expected a calibration as JSON, found something else ({error}); remove it"
            ) from error
        if (kept.get("schema"), kept.get("weights"), kept.get("rows")) == (SCHEMA, belongs_to, role):
            return Calibration.from_plain(kept["calibration"])
    found = _calibrated(stack, outputs, role)
    content = {"schema": SCHEMA, "rows": role, "weights": belongs_to, "calibration": found.to_plain()}
    write_sealed(path, (json.dumps(content, indent=1) + "\n").encode())
    return found


@torch.inference_mode()
def _calibrated(stack: Stack, outputs: Outputs, role: Role) -> Calibration:
    rng = np.random.default_rng(0)
    found: list[np.ndarray] = []
    errors: list[np.ndarray] = []
    for row in training_rows(stack.learners, outputs, stack.settings, role):
        valid = np.flatnonzero(row.valid.numpy())
        chosen = rng.choice(valid, min(PIXELS_PER_FRAME, len(valid)), replace=False)
        maps = stack_maps(stack, row.image, row.depths)
        error = stack.network.fuse(maps, row.depths) - row.target
        found.append(doubt(stack, maps, row.depths).flatten().numpy()[chosen])
        errors.append(error.flatten().numpy()[chosen] ** 2)
    return calibrate(np.concatenate(found), np.concatenate(errors))
