"""Scores over the pixels of all images together, as some publications average them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ensemble.metrics.formulas import METRICS

ROOTS = ("rmse", "rmse_log")
"""Metrics whose square is a mean over pixels."""

SCATTER = "silog_x100"
"""The metric that is a standard deviation."""


@dataclass
class PixelSums:
    """Sums over pixels that add up image by image; ``compute`` answers as that of ``ScoreSums``.

    Attributes:
        pixels: Scored so far.
        images: With a scored pixel.
        images_without_valid: Without one.
        clipped: Pixels whose prediction was clipped.
        nonfinite: Unscored pixels whose prediction was not finite.
    """

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
        """Add one image.

        Args:
            scores: Its own, from ``image_scores``.
            pixels: Scored ones; nothing else is read where there are none.
            mean_log_ratio: Mean natural logarithm of predicted over target.
            clipped: From ``prepare``.
            nonfinite: Likewise.
        """
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
        """Every metric over all pixels, and the counts.

        Raises:
            ValueError: No pixel was scored.
        """
        if self.pixels == 0:
            raise ValueError(
                f"no mean over pixels: none was scored in {self.images_without_valid} images; "
                "check depth range, crop and units (metres)"
            )
        means = {name: total / self.pixels for name, total in self._sums.items()}
        scores = {name: math.sqrt(mean) if name in (*ROOTS, SCATTER) else mean for name, mean in means.items()}
        scores[SCATTER] *= 100
        counts = {name: getattr(self, name) for name in ("images", "images_without_valid", "clipped", "nonfinite")}
        return {**scores, **counts}
