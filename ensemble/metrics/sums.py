"""Scores summed up image by image: their mean over images, or over the pixels of all images as publications have it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ensemble.console import counted
from ensemble.metrics.formulas import METRICS

ROOTS = ("rmse", "rmse_log")
"""Metrics whose square is a mean over pixels."""

SCATTER = "silog_x100"
"""The metric that is a standard deviation."""

COUNTS = ("images", "images_without_valid", "clipped", "nonfinite")


@dataclass
class ImageSums:
    """Sums over images that add up image by image."""

    over: ClassVar[str] = "images"
    images: int = 0
    images_without_valid: int = 0
    clipped: int = 0
    nonfinite: int = 0
    _sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(METRICS, 0.0))

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
        self._add(scores, pixels, mean_log_ratio)

    def compute(self) -> dict[str, int | float]:
        """Mean of every metric, and the counts.

        Raises:
            ValueError: No image has a valid pixel, so there is no mean.
        """
        if self.images == 0:
            raise ValueError(
                f"no mean over {self.over}: none was scored in {counted(self.images_without_valid, 'image')}; "
                "check depth range, crop and units (metres)"
            )
        return {**self._means(), **{name: getattr(self, name) for name in COUNTS}}

    def _add(self, scores: Mapping[str, float], pixels: int, mean_log_ratio: float) -> None:
        for name in METRICS:
            self._sums[name] += scores[name]

    def _means(self) -> dict[str, float]:
        return {name: total / self.images for name, total in self._sums.items()}


@dataclass
class PixelSums(ImageSums):
    """Sums over the pixels of all images.

    Attributes:
        over: What the means are taken over.
        pixels: Scored so far.
    """

    over: ClassVar[str] = "pixels"
    pixels: int = 0
    _mean_log_ratio: float = 0.0

    def _add(self, scores: Mapping[str, float], pixels: int, mean_log_ratio: float) -> None:
        for name in METRICS:
            if name != SCATTER:
                self._sums[name] += pixels * (scores[name] ** 2 if name in ROOTS else scores[name])
        # Squared deviations from the common mean, without the difference of large sums (Chan et al. 1979, eq. 1.5).
        together = self.pixels + pixels
        apart = mean_log_ratio - self._mean_log_ratio
        self._sums[SCATTER] += pixels * (scores[SCATTER] / 100) ** 2 + apart**2 * self.pixels * pixels / together
        self._mean_log_ratio += apart * pixels / together
        self.pixels = together

    def _means(self) -> dict[str, float]:
        means = {name: total / self.pixels for name, total in self._sums.items()}
        scores = {name: math.sqrt(mean) if name in (*ROOTS, SCATTER) else mean for name, mean in means.items()}
        return {**scores, SCATTER: 100 * scores[SCATTER]}
