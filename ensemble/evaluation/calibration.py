"""How large an error goes with a disagreement of a stack's learners, learnt on rows that they never saw."""

import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ensemble.metrics.expected_error import ExpectedError, ImagePart, image_statistics
from ensemble.metrics.expected_error_fit import ErrorSample, fit_expected_error
from ensemble.metrics.uncertainty import Calibration, disagreement
from ensemble.predictions.level_zero import LevelZero
from ensemble.runs.paths import Outputs
from ensemble.runs.refusals import refuse_unreadable
from ensemble.runs.seals import read_text, write_sealed
from ensemble.settings.names import Role
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
        self._samples: list[ErrorSample] = []
        self._medians: list[list[float]] = []  # of every row, one for each learner, metres

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
        self._medians += [row.depths[0].flatten(1).median(dim=1).values.tolist() for row in rows]
        image, depths, target = (
            torch.cat([getattr(row, name) for row in rows]) for name in ("image", "depths", "target")
        )
        fused = stacked(self.stack, image, depths)
        unsure, depth = (maps.flatten(1).numpy() for maps in (disagreement_of(fused), fused.depth))
        error = depth - target.flatten(1).numpy()
        statistics = image_statistics(fused).numpy()
        for index, row in enumerate(rows):
            valid = np.flatnonzero(row.valid.numpy())
            chosen = self._rng.choice(valid, min(PIXELS_PER_FRAME, len(valid)), replace=False)
            if not len(valid):
                continue
            true = target[index].flatten().numpy()[valid].astype(np.float64)
            scale_error = float((np.log(depth[index, valid], dtype=np.float64) - np.log(true)).mean())
            pixels = (unsure[index, chosen], error[index, chosen] ** 2, depth[index, chosen])
            self._samples.append(ErrorSample(row.frame.scene, statistics[index], scale_error, *pixels))

    def finish(self) -> ExpectedError:
        """What was learnt; it is kept in the stack's run, with the fingerprint of the weights that it belongs to."""
        if self._waiting:
            self._weigh()
        found = fit_expected_error(self._samples)
        content = {
            "schema": SCHEMA,
            "rows": self.rows,
            "weights": _weights(self.stack),
            "calibration": found.pixels.to_plain(),
            "medians": np.median(self._medians, axis=0).tolist(),
        }
        content |= {} if found.image is None else {"image_part": found.image_to_plain()}
        write_sealed(self.stack.run.uncertainty, (json.dumps(content, indent=1) + "\n").encode())
        return found


def kept_calibration(stack: Stack) -> ExpectedError | None:
    """What was learnt before for the weights that the stack has now; ``None`` where that is to be done.

    Files of before there was an image part are read without it.

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
    image = kept.get("image_part")
    return ExpectedError(
        Calibration.from_plain(kept["calibration"]), None if image is None else ImagePart.from_plain(image)
    )


def usual_depths(stack: Stack) -> dict[str, float]:
    """The median depth of every learner, metres, on the rows of the calibration; empty where none was kept."""
    path = stack.run.uncertainty
    kept = json.loads(read_text(path)).get("medians") if path.is_file() else None
    names = [learner.name for learner in stack.learners]
    return dict(zip(names, kept, strict=True)) if kept is not None and len(kept) == len(names) else {}


def calibration_of(stack: Stack, outputs: Outputs) -> ExpectedError:
    """How large an error goes with a disagreement: as it was kept, or learnt now and kept."""
    kept = kept_calibration(stack)
    return _calibrated(stack, outputs) if kept is None else kept


def _calibrated(stack: Stack, outputs: Outputs) -> ExpectedError:
    fit = CalibrationFit(stack)
    for row in training_rows(stack.learners, outputs, stack.settings, fit.rows):
        fit.add(row)
    return fit.finish()


def _weights(stack: Stack) -> str:
    return weights_fingerprint(stack.settings, stack.run)
