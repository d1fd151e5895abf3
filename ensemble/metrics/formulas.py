"""How predicted depth is scored: per image over its valid pixels, under a protocol that stands beside the score.

Reports name metrics and compute none: torch is known here by what is passed in, and not imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # half of the start of a small command is imports: jaxtyping brings mocks and asyncio
    from jaxtyping import Bool, Float, Float64, Int64
    from torch import Tensor


@dataclass(frozen=True)
class PixelErrors:
    """What the metrics of a batch have in common, computed once, in double precision.

    Depth is metres, and 1 where not valid; ``log_ratio`` is the natural logarithm of predicted over target, and 0
    there.
    """

    predicted: Float64[Tensor, "b 1 h w"]
    target: Float64[Tensor, "b 1 h w"]
    log_ratio: Float64[Tensor, "b 1 h w"]
    valid: Bool[Tensor, "b 1 h w"]
    pixels: Int64[Tensor, " b"]

    def mean(self, values: Float64[Tensor, "b 1 h w"]) -> Float64[Tensor, " b"]:
        """Mean over the valid pixels of each image; NaN for an image that has none."""
        return values.where(self.valid, 0.0).sum(dim=(1, 2, 3)) / self.pixels


def pixel_errors(
    predicted: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> PixelErrors:
    """Compare depth in metres of one size pixel by pixel; nothing is read where ``valid`` is false.

    A ``ValueError`` counts valid pixels that are not positive and finite.
    """
    if not predicted.shape == target.shape == valid.shape:
        raise ValueError(
            f"predicted {tuple(predicted.shape)}, target {tuple(target.shape)} and valid {tuple(valid.shape)} "
            "must have one size; prepare() brings predictions to the size of the truth"
        )
    for name, depth in (("predicted", predicted), ("target", target)):
        unusable = valid & ~((depth > 0) & depth.isfinite())
        if unusable.any():
            image = int(unusable.flatten(1).any(dim=1).nonzero()[0])
            raise ValueError(
                f"{name} depth of image {image} of the batch: {int(unusable[image].sum())} of "
                f"{int(valid[image].sum())} valid pixels are not positive and finite; nothing is repaired here"
            )
    predicted, target = (depth.double().where(valid, 1.0) for depth in (predicted, target))
    return PixelErrors(predicted, target, predicted.log() - target.log(), valid, valid.sum(dim=(1, 2, 3)))


def share_within(errors: PixelErrors, *, factor: float) -> Float64[Tensor, " b"]:
    """Share of pixels whose larger ratio between prediction and truth is below ``factor``."""
    ratio = (errors.predicted / errors.target).maximum(errors.target / errors.predicted)
    return errors.mean((ratio < factor).double())


def abs_rel(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Mean absolute error relative to the truth."""
    return errors.mean((errors.predicted - errors.target).abs() / errors.target)


def sq_rel(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Mean squared error divided by the truth, in metres."""
    return errors.mean((errors.predicted - errors.target).square() / errors.target)


def rmse(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Root of the mean squared error, in metres."""
    return errors.mean((errors.predicted - errors.target).square()).sqrt()


def rmse_log(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Root of the mean squared natural-log error."""
    return errors.mean(errors.log_ratio.square()).sqrt()


def log10(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Mean absolute error of the decimal logarithm."""
    return errors.mean(errors.log_ratio.abs()) / math.log(10)


def silog_x100(errors: PixelErrors) -> Float64[Tensor, " b"]:
    """Standard deviation of the natural-log error, times 100.

    Deviations are taken from the mean before they are squared, so that no rounding makes the variance negative.
    """
    deviation = errors.log_ratio - errors.mean(errors.log_ratio)[:, None, None, None]
    return 100 * errors.mean(deviation.square()).sqrt()


@dataclass(frozen=True)
class Metric:
    """One line of ``METRICS``; calling it scores ``(predicted, target, valid)``.

    ``formula`` goes from the pixel errors of a batch to one number per image, in ``unit`` (empty for a share or a
    ratio); ``label`` heads its column.
    """

    formula: Callable[[PixelErrors], Float64[Tensor, " b"]]
    label: str
    higher_is_better: bool = False
    unit: str = ""

    def __call__(
        self, predicted: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
    ) -> Float64[Tensor, " b"]:
        """One number per image; NaN for an image without valid pixels."""
        return self.formula(pixel_errors(predicted, target, valid))


METRICS: Mapping[str, Metric] = {
    "d1": Metric(partial(share_within, factor=1.25), "d1", higher_is_better=True),
    "d2": Metric(partial(share_within, factor=1.25**2), "d2", higher_is_better=True),
    "d3": Metric(partial(share_within, factor=1.25**3), "d3", higher_is_better=True),
    "abs_rel": Metric(abs_rel, "REL"),
    "sq_rel": Metric(sq_rel, "SqREL", unit="m"),
    "rmse": Metric(rmse, "RMSE", unit="m"),
    "rmse_log": Metric(rmse_log, "RMSElog"),
    "log10": Metric(log10, "log10"),
    "silog_x100": Metric(silog_x100, "SILog x100"),
}


def image_scores(
    predicted: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> dict[str, Float64[Tensor, " b"]]:
    """Every metric of every image; NaN for images without valid pixels, which ``ScoreSums`` leaves out and counts."""
    errors = pixel_errors(predicted, target, valid)
    return {name: metric.formula(errors) for name, metric in METRICS.items()}


TABLE_METRICS = tuple(metric for metric in METRICS if metric != "silog_x100")
"""The eight that studies print; the files hold all of ``METRICS``."""
