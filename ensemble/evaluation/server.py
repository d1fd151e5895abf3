"""The four metrics of KITTI's server, of every row over whole frames, beside scores under published protocols."""

from collections.abc import Mapping
from statistics import fmean

import torch
from torch import Tensor

from ensemble.data.source import RawFrame
from ensemble.evaluation.scoring import Cell
from ensemble.metrics.formulas import pixel_errors
from ensemble.metrics.kitti import SERVER_METRICS


class ServerScores:
    """Sums up what the server would print of each row: every measured pixel counts, wherever it lies and how far.

    Of repeated fits the first one is scored. Images without a measurement are left out, and all where nobody wants it.
    """

    def __init__(self, *, wanted: bool = True) -> None:
        self._wanted = wanted
        self._images: dict[str, list[dict[str, float]]] = {}

    def add(self, raw: RawFrame, predictions: Mapping[Cell, Tensor], *, nearest: float) -> None:
        """Add one frame.

        Args:
            raw: Its truth.
            predictions: Depth [1 1 h w] in metres at the size of the truth.
            nearest: Metres that nearer predictions are raised to; the server takes no 0.
        """
        if not (self._wanted and raw.valid.any()):
            return
        target, valid = (torch.from_numpy(array)[None, None] for array in (raw.depth, raw.valid))
        for (name, repeat), depth in predictions.items():
            if repeat == 0:
                errors = pixel_errors(depth.clamp(min=nearest), target, valid)
                found = {metric: float(each.formula(errors)) for metric, each in SERVER_METRICS.items()}
                self._images.setdefault(name, []).append(found)

    def compute(self) -> dict[str, dict[str, float]]:
        """Means over images of every row."""
        return {
            name: {metric: fmean(image[metric] for image in images) for metric in SERVER_METRICS}
            for name, images in self._images.items()
        }
