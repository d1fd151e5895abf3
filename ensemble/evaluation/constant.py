"""What can be said of a frame without looking at it: the mean log depth of every pixel over frames of training."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ensemble.data.source import Frame, FrameSource
from ensemble.data.transforms import bring_to_size, valid_depth
from ensemble.settings.schema import DataSettings
from ensemble.stacking.training_rows import TrainingRow

CONSTANT = "mean log depth"
CONSTANT_FRAMES = 200
"""Training frames that the constant prediction is computed from, spread evenly."""


class MeanLogDepth:
    """Sums up log depth frame by frame, of rows that go by or of frames that are read for it.

    Args:
        frames: Of training.
        data: Size and depth range.
    """

    def __init__(self, frames: Sequence[Frame], data: DataSettings) -> None:
        chosen = np.linspace(0, len(frames) - 1, min(CONSTANT_FRAMES, len(frames))).astype(int)
        self._missing = {frames[index].id: frames[index] for index in sorted(set(chosen.tolist()))}
        self._data = data
        self._total = torch.zeros(1, *data.size, dtype=torch.float64)
        self._count = torch.zeros(1, *data.size, dtype=torch.float64)

    def add(self, row: TrainingRow) -> None:
        """Add the frame of a row, if it is one of those that the constant is made of."""
        if self._missing.pop(row.frame.id, None) is not None:
            self._add(row.target[0], row.valid[0])

    def depth(self, source: FrameSource) -> Tensor:
        """Metres [1 1 h w]; pixels that were never measured take the mean over all pixels.

        Args:
            source: Reads the frames that did not go by.
        """
        while self._missing:
            frame = self._missing.pop(next(iter(self._missing)))
            sample = bring_to_size(source.read(frame), self._data.size)
            inside = valid_depth(sample["depth"], self._data.min_depth, self._data.max_depth)
            self._add(sample["depth"], sample["valid"] & inside)
        overall = self._total.sum() / self._count.sum()
        mean = torch.where(self._count > 0, self._total / self._count.clamp(min=1), overall)
        return mean.exp().float()[None]

    def _add(self, depth: Tensor, valid: Tensor) -> None:
        self._total += depth.double().where(valid, 1.0).log()
        self._count += valid
