"""The error that is to be expected of a fused depth: an image's scale may be off, and its pixels beside it.

The fused depth is ``truth * exp(scale + rest)``, where the scale is common to all pixels of an image and the rest has
mean 0 over it. So the error in metres is about ``depth * (scale + rest)``, and over the pixels of an image the product
of both has mean 0: variances add. The expected squared error of a pixel is ``depth^2 * variance of the scale`` plus
what pixels of such disagreement are off by beside it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ensemble.metrics.uncertainty import Calibration, disagreement
from meta.fusion import MIN_DEPTH
from meta.weighing import Fused

STATISTICS = ("disagreement", "spread of scales", "mean log depth", "spread of log depth")
"""Of an image, what is told of its scale by: logs of the learners' weighted disagreement and of how far the scales that
they see are apart, mean and deviation of the fused log depth."""

LEAST_SPREAD = 1e-4
"""Natural-log units; learners that agree better than this count as if they agreed so well."""


def image_statistics(fused: Fused) -> Float64[Tensor, "b statistics"]:
    """``STATISTICS`` of every image, over all pixels, because nobody knows which ones are valid when predicting."""
    log_depth = fused.depth.double().clamp(min=MIN_DEPTH).log()
    apart = fused.learners.double().clamp(min=MIN_DEPTH).log() - log_depth
    shares = fused.shares.double()
    disagreeing = (shares * apart.square()).sum(dim=1).mean(dim=(-2, -1)).sqrt()
    share, scales = shares.mean(dim=(-2, -1)), apart.mean(dim=(-2, -1))
    centre = (share * scales).sum(dim=1, keepdim=True)
    spread = (share * (scales - centre).square()).sum(dim=1).sqrt()
    logs = [each.clamp(min=LEAST_SPREAD).log() for each in (disagreeing, spread)]
    own = log_depth.flatten(1)
    return torch.stack([*logs, own.mean(dim=1), own.std(dim=1, correction=0)], dim=1)


@dataclass(frozen=True)
class ScaleError:
    """How far off the scale of an image is likely to be: the log of its variance is linear in the image's statistics.

    Attributes:
        mean: Of every statistic on the images that it was fitted to.
        deviation: Likewise, above 0.
        low: Smallest value there; a smaller one counts as this.
        high: Largest value there; a larger one counts as this.
        weights: Of every statistic in deviations from its mean; all 0 where images cannot be told apart.
        intercept: Log of the variance of an image whose statistics are the means.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def __post_init__(self) -> None:
        columns = [self.mean, self.deviation, self.low, self.high, self.weights]
        values = torch.tensor([*(value for column in columns for value in column), self.intercept])
        if {len(column) for column in columns} != {len(STATISTICS)} or not values.isfinite().all():
            raise ValueError(
                f"error of scales by {[len(column) for column in columns]} numbers, expected finite ones of "
                f"{', '.join(STATISTICS)}; fit the calibration again"
            )
        if min(self.deviation) <= 0:
            raise ValueError(
                f"error of scales: deviations {list(self.deviation)}, expected numbers above 0; fit it again"
            )

    def variance(self, statistics: Float64[Tensor, "b statistics"]) -> Float64[Tensor, " b"]:
        """Expected squared log error of the scale of every image; NaN stays NaN."""
        columns = (self.mean, self.deviation, self.low, self.high, self.weights)
        mean, deviation, low, high, weights = (statistics.new_tensor(column) for column in columns)
        standing = (torch.minimum(torch.maximum(statistics, low), high) - mean) / deviation
        return (standing @ weights + self.intercept).exp()


@dataclass(frozen=True)
class ImagePart:
    """The share of an expected error that is common to all pixels of an image.

    Attributes:
        scale: How far off the scales of images are.
        share: Of the scale's variance that counts: 0 where held-out scenes could not tell that it helps.
        rest: From disagreement to the error that is left beside it.
        gain: By how much the expected error is better on held-out scenes than without the image part: difference of the
            mean of ``log variance + squared error / variance``; of the best share above 0, also where it is not taken.
        gain_error: Standard error of the gain over scenes.
    """

    scale: ScaleError
    share: float
    rest: Calibration
    gain: float
    gain_error: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"image part: share {self.share}, expected 0 to 1; fit the calibration again")

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "ImagePart":
        """Read what ``ExpectedError.image_to_plain`` gave; anything else is refused."""
        try:
            own = plain["scale"]
            columns = {name: tuple(map(float, own[name])) for name in ("mean", "deviation", "low", "high", "weights")}
            scale = ScaleError(**columns, intercept=float(own["intercept"]))
            numbers = (float(plain[name]) for name in ("share", "gain", "gain_error"))
            share, gain, gain_error = numbers
            return cls(scale, share, Calibration.from_plain(plain["rest"]), gain, gain_error)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"image part of an expected error: {error!r} in {dict(plain)}, expected scale, share, rest, gain and "
                "gain_error; fit the calibration again"
            ) from error


@dataclass(frozen=True)
class ExpectedError:
    """Root mean squared error to be expected of fused depth, in metres.

    Attributes:
        pixels: From disagreement alone, whatever the image.
        image: What images add; ``None`` where it was not fitted, of few scenes or before there was one.
    """

    pixels: Calibration
    image: ImagePart | None = None

    @property
    def has_image_part(self) -> bool:
        """Whether images differ in it."""
        return self.image is not None and self.image.share > 0

    def of(self, fused: Fused) -> Float[Tensor, "b 1 h w"]:
        """Metres for every pixel of fused depth, at its size."""
        unsure = disagreement(fused.shares, fused.learners, fused.depth)
        return (
            self.at(unsure, fused.depth, image_statistics(fused)) if self.has_image_part else self.pixels.apply(unsure)
        )

    def at(
        self,
        unsure: Float[Tensor, "b 1 h w"],
        depth: Float[Tensor, "b 1 h w"],
        statistics: Float64[Tensor, "b statistics"],
    ) -> Float[Tensor, "b 1 h w"]:
        """The same from disagreement and fused depth in metres, of any size, and statistics of the whole images."""
        if self.image is None or not self.image.share:
            return self.pixels.apply(unsure)
        variance = self.image.share * self.image.scale.variance(statistics)
        common = variance.view(-1, 1, 1, 1) * depth.double().square()
        return (common + self.image.rest.apply(unsure).double().square()).sqrt().to(unsure)

    def image_to_plain(self) -> dict[str, Any] | None:
        """The image part as numbers, ready for JSON."""
        return None if self.image is None else asdict(self.image)
