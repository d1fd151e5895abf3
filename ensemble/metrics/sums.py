"""Scores summed up over frames: a mean over images, or over the pixels of all images as some publications have it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torchmetrics import Metric as StatefulMetric

from ensemble.metrics.formulas import METRICS
from ensemble.metrics.protocols import Counts

COUNTS = ("images", "images_without_valid", "clipped", "nonfinite")
"""Images with and without a scored pixel, clipped predictions, and predictions that were not finite and not scored."""


class ScoreSums(StatefulMetric):
    """Sums of per-image scores that add up over batches and processes; their quotient is the mean over images."""

    full_state_update = False
    sums: Float64[Tensor, " metrics"]
    images: Int64[Tensor, ""]
    images_without_valid: Int64[Tensor, ""]
    clipped: Int64[Tensor, ""]
    nonfinite: Int64[Tensor, ""]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(len(METRICS), dtype=torch.float64), dist_reduce_fx="sum")
        for name in COUNTS:
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Mapping[str, Float64[Tensor, " b"]], counts: Counts | None = None) -> None:
        """Add the images of a batch, from ``image_scores`` and ``prepare``.

        Raises:
            ValueError: A metric is missing, or an image is NaN in some metrics and a number in others.
        """
        if set(scores) != set(METRICS):
            raise ValueError(f"scores of {sorted(scores)}, expected those of image_scores: {sorted(METRICS)}")
        table = torch.stack([scores[name] for name in METRICS])
        without = table.isnan().all(dim=0)
        if table[:, ~without].isnan().any():
            raise ValueError("an image has NaN in some metrics and numbers in others; expected all or none")
        self.sums += table[:, ~without].sum(dim=1)
        self.images += (~without).sum()
        self.images_without_valid += without.sum()
        if counts is not None:
            self.clipped += counts.clipped.sum()
            self.nonfinite += counts.nonfinite.sum()

    def compute(self) -> dict[str, int | float]:
        """Mean of every metric over the images that have valid pixels, of which there must be one, and the counts."""
        images = int(self.images)
        if images == 0:
            raise ValueError(
                f"no mean over images: none was scored, {int(self.images_without_valid)} had no valid pixel; "
                "check depth range, crop and units (metres)"
            )
        means = dict(zip(METRICS, (self.sums / images).tolist(), strict=True))
        return {**means, **{name: int(getattr(self, name)) for name in COUNTS}}


ROOTS = ("rmse", "rmse_log")
"""Metrics whose square is a mean over pixels."""

SCATTER = "silog_x100"
"""The metric that is a standard deviation."""


@dataclass
class PixelSums:
    """Sums over pixels that add up image by image; ``compute`` answers as that of ``ScoreSums``."""

    pixels: int = 0
    images: int = 0
    images_without_valid: int = 0
    clipped: int = 0
    nonfinite: int = 0
    _sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(METRICS, 0.0))
    _mean_log_ratio: float = 0.0

    def update(
        self, scores: Mapping[str, float], *, pixels: int, mean_log_ratio: float, clipped: int = 0, nonfinite: int = 0
    ) -> None:
        """Add one image; without scored pixels only counts are read. The log of predicted over target is natural."""
        self.clipped += clipped
        self.nonfinite += nonfinite
        if pixels == 0:
            self.images_without_valid += 1
            return
        self.images += 1
        for name in METRICS:
            if name != SCATTER:
                self._sums[name] += pixels * (scores[name] ** 2 if name in ROOTS else scores[name])
        # Squared deviations from the common mean, without the difference of large sums (Chan et al. 1979, eq. 1.5).
        together = self.pixels + pixels
        apart = mean_log_ratio - self._mean_log_ratio
        self._sums[SCATTER] += pixels * (scores[SCATTER] / 100) ** 2 + apart**2 * self.pixels * pixels / together
        self._mean_log_ratio += apart * pixels / together
        self.pixels = together

    def compute(self) -> dict[str, int | float]:
        """Every metric over all pixels, of which one must have been scored, and the counts."""
        if self.pixels == 0:
            raise ValueError(
                f"no mean over pixels: none was scored in {self.images_without_valid} images; "
                "check depth range, crop and units (metres)"
            )
        means = {name: total / self.pixels for name, total in self._sums.items()}
        scores = {name: math.sqrt(mean) if name in (*ROOTS, SCATTER) else mean for name, mean in means.items()}
        scores[SCATTER] *= 100
        return {**scores, **{name: getattr(self, name) for name in COUNTS}}
