"""How large an error goes with a disagreement of a stack's learners, learnt on rows that they never saw."""

import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ensemble.data.division import Role
from ensemble.metrics.uncertainty import Calibration, calibrate, disagreement
from ensemble.predictions.level_zero import LevelZero
from ensemble.runs.paths import Outputs
from ensemble.runs.refusals import refuse_unreadable
from ensemble.runs.seals import read_text, write_sealed
from ensemble.stacking.stack import Stack, frames_together, stacked
from ensemble.stacking.training_rows import PIXELS_PER_FRAME, TrainingRow, training_rows
from ensemble.training.networks import weights_fingerprint
from meta.weighing import Fused

SCHEMA = 1


def disagreement_of(fused: Fused) -> Tensor:
    """Weighted disagreement [b 1 h w] of the learners about the fused depth, in metres, not calibrated."""
    return disagreement(fused.shares, fused.learners, fused.depth)


def calibrated_on(stack: Stack) -> Literal["oof", "validation"]:
    """Rows that a stack's uncertainty is calibrated with: out-of-fold ones where it was fitted to such."""
    return "oof" if stack.learners[0].folds else "validation"


class CalibrationFit:
    """Learns, row by row, how large an error goes with a disagreement, from rows that the learners never saw.

    That is out-of-fold rows, or validation scenes where the stack was not fitted to any. The meta-learner itself was
    fitted to the former, if to few parameters for so many pixels, so what it says of them may be a little too sure.

    Args:
        stack: Whose learners disagree.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.rows: Role = calibrated_on(stack)
        self._rng = np.random.default_rng(0)
        self._waiting: list[TrainingRow] = []
        self._found: list[np.ndarray] = []
        self._squared: list[np.ndarray] = []

    def learns_from(self, learners: Sequence[LevelZero], role: Role) -> bool:
        """Whether rows of a role by these learners are those that it learns from."""
        read = [[each.folds if role == "oof" else each.tested for each in of] for of in (learners, self.stack.learners)]
        return role == self.rows and read[0] == read[1]

    def add(self, row: TrainingRow) -> None:
        """Add one row; as many as fit are weighed together."""
        self._waiting.append(row)
        if len(self._waiting) == frames_together(self.stack.settings):
            self._weigh()

    @torch.inference_mode()
    def _weigh(self) -> None:
        rows, self._waiting = self._waiting, []
        image, depths, target = (
            torch.cat([getattr(row, name) for row in rows]) for name in ("image", "depths", "target")
        )
        fused = stacked(self.stack, image, depths)
        found = disagreement_of(fused).flatten(1).numpy()
        error = (fused.depth - target).flatten(1).numpy()
        for index, row in enumerate(rows):
            valid = np.flatnonzero(row.valid.numpy())
            chosen = self._rng.choice(valid, min(PIXELS_PER_FRAME, len(valid)), replace=False)
            self._found.append(found[index, chosen])
            self._squared.append(error[index, chosen] ** 2)

    def finish(self) -> Calibration:
        """What was learnt; it is kept in the stack's run, with the fingerprint of the weights that it belongs to."""
        if self._waiting:
            self._weigh()
        found = calibrate(np.concatenate(self._found), np.concatenate(self._squared))
        content = {
            "schema": SCHEMA,
            "rows": self.rows,
            "weights": _weights(self.stack),
            "calibration": found.to_plain(),
        }
        write_sealed(self.stack.run.uncertainty, (json.dumps(content, indent=1) + "\n").encode())
        return found


def kept_calibration(stack: Stack) -> Calibration | None:
    """What was learnt before for the weights that the stack has now; ``None`` where that is to be done.

    Raises:
        ValueError: The file is damaged.
    """
    path = stack.run.uncertainty
    if not path.is_file():
        return None
    try:
        kept = json.loads(read_text(path))
    except ValueError as error:
        refuse_unreadable(path, error)
        raise ValueError(
            f"{path}: expected a calibration as JSON, found something else ({error}); remove it"
        ) from error
    if (kept.get("schema"), kept.get("weights"), kept.get("rows")) != (SCHEMA, _weights(stack), calibrated_on(stack)):
        return None
    return Calibration.from_plain(kept["calibration"])


def calibration_of(stack: Stack, outputs: Outputs) -> Calibration:
    """How large an error goes with a disagreement: as it was kept, or learnt now and kept."""
    kept = kept_calibration(stack)
    return _calibrated(stack, outputs) if kept is None else kept


def _calibrated(stack: Stack, outputs: Outputs) -> Calibration:
    fit = CalibrationFit(stack)
    for row in training_rows(stack.learners, outputs, stack.settings, fit.rows):
        fit.add(row)
    return fit.finish()


def _weights(stack: Stack) -> str:
    return weights_fingerprint(stack.settings, stack.run)
