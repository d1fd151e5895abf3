"""What is reached by who knows the truth: at every pixel, or of every image a few numbers; and what of it is luck.

All maps are metres, ``b k h w`` over k learners. Bounds learn from valid pixels alone; an image without any keeps the
plain mean, or equal weights.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from meta.combiners import convex_weights, log_moments
from meta.fusion import MIN_DEPTH, fuse, mean_depth

FARTHEST = 1e4
"""Metres: a line in logs through few different depths may be steep, and no depth of it is farther than this."""

LEAST_DISAGREEMENT = 1e-10
"""Squared natural-log units: learners that are as near to each other disagree by rounding, which is not stretched."""


def oracle_pick(
    depths: Float[Tensor, "b k h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """At every valid pixel the learner nearest to the truth, elsewhere the plain mean.

    A bound for picking one learner per pixel on metrics of the error in metres (REL, SqREL, RMSE); on those of ratios
    (d1, d2, d3, RMSElog, log10) another learner may be a little nearer.
    """
    error = (depths - torch.where(valid, target, 0.0)).abs()
    return torch.where(valid, depths.gather(1, error.argmin(dim=1, keepdim=True)), mean_depth(depths))


def oracle_convex(
    depths: Float[Tensor, "b k h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """At every valid pixel the truth, held between the learners, elsewhere the plain mean.

    A bound for all weights of 0 or more that sum to 1, on every metric of single pixels (all but SILog). Free weights
    and corrections may leave the range of the learners, and pass it.
    """
    lowest, highest = depths.amin(dim=1, keepdim=True), depths.amax(dim=1, keepdim=True)
    held = torch.maximum(torch.minimum(torch.where(valid, target, 0.0), highest), lowest)
    return torch.where(valid, held, mean_depth(depths))


def with_disagreement_of(
    depths: Float[Tensor, "b k h w"], others: Float[Tensor, "b k h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b k h w"]:
    """The learners with what they disagree about taken from other images: what is left of their diversity is luck.

    Disagreement is the distance of their log depths from the mean log depth, which is kept. That of the other image is
    stretched to the root mean square over valid pixels and learners that the image's own has; learners that agree on it
    leave the mean alone.
    """
    logs, foreign = (maps.clamp(min=MIN_DEPTH).log() for maps in (depths, others))
    centre = logs.mean(dim=1, keepdim=True)
    foreign = foreign - foreign.mean(dim=1, keepdim=True)
    own, taken = (_mean_square(maps, valid) for maps in (logs - centre, foreign))
    stretch = torch.where(taken > LEAST_DISAGREEMENT, own / taken.clamp(min=LEAST_DISAGREEMENT), 0.0).sqrt().to(logs)
    return (centre + stretch[:, None, None, None] * foreign).exp()


def image_weights(
    depths: Float[Tensor, "b k h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b k"]:
    """The weights of each image, 0 or more and of sum 1, in logs, of least squared log error; equal without a pixel."""
    return torch.stack([_weights(*image) for image in zip(depths, target, valid, strict=True)])


def scale_and_slope(
    predicted: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> tuple[Float64[Tensor, " b"], Float64[Tensor, " b"]]:
    """The line of each image that comes nearest to its log truth: ``log target = scale + slope * log predicted``.

    The scale is in natural-log units; of depth that is the same everywhere the slope is 1, and of an image without a
    valid pixel the scale is 0 as well.
    """
    lines = [_line(*image) for image in zip(predicted, target, valid, strict=True)]
    scale, slope = torch.tensor(lines, dtype=torch.float64).unbind(dim=1)
    return scale, slope


def weighted_per_image(
    depths: Float[Tensor, "b k h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """The learners under ``image_weights``: best in RMSElog of weights that are the same at all pixels of an image."""
    weights = image_weights(depths, target, valid).to(depths)
    return fuse(weights[:, :, None, None].expand_as(depths), depths, space="log")


def scaled_per_image(
    depths: Float[Tensor, "b k h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """The plain mean times one factor per image: that which takes away its mean log error."""
    mean = mean_depth(depths)
    error = _logs(mean) - _logs(target.where(valid, 1.0))
    pixels = valid.sum(dim=(1, 2, 3)).clamp(min=1)
    offset = error.where(valid, 0.0).sum(dim=(1, 2, 3)) / pixels
    return mean * (-offset).exp().to(mean)[:, None, None, None]


def fitted_per_image(
    depths: Float[Tensor, "b k h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """The plain mean under the ``scale_and_slope`` of each image: two numbers, best in RMSElog."""
    mean = mean_depth(depths)
    scale, slope = (each[:, None, None, None] for each in scale_and_slope(mean, target, valid))
    return (scale + slope * _logs(mean)).exp().clamp(MIN_DEPTH, FARTHEST).to(mean)


Bound = Callable[[Tensor, Tensor, Tensor], Tensor]

PIXEL_BOUNDS: Mapping[str, Bound] = {"oracle pick": oracle_pick, "oracle convex": oracle_convex}
"""Bounds [b k h w] -> [b 1 h w] that look at the truth of every pixel, by the name in the tables."""

IMAGE_BOUNDS: Mapping[str, Bound] = {
    "weights per image": weighted_per_image,
    "scale per image": scaled_per_image,
    "scale and slope per image": fitted_per_image,
}
"""Bounds that learn a few numbers of an image from its truth: best in RMSElog, on other metrics whatever that brings.

Weights that differ from pixel to pixel may pass them.
"""


def _logs(depth: Tensor) -> Tensor:
    return depth.double().clamp(min=MIN_DEPTH).log()


def _mean_square(maps: Float[Tensor, "b k h w"], valid: Bool[Tensor, "b 1 h w"]) -> Float64[Tensor, " b"]:
    """Mean square over valid pixels and maps; 0 where no pixel is valid."""
    pixels = valid.sum(dim=(1, 2, 3)).clamp(min=1)
    return maps.double().square().mean(dim=1, keepdim=True).where(valid, 0.0).sum(dim=(1, 2, 3)) / pixels


def _weights(depths: Tensor, target: Tensor, valid: Tensor) -> Float64[Tensor, " k"]:
    known = valid[0].numpy(force=True)
    if not known.any():
        return torch.full((len(depths),), 1 / len(depths), dtype=torch.float64)
    columns, truth = depths.numpy(force=True)[:, known].T, target[0].numpy(force=True)[known]
    return torch.from_numpy(convex_weights(log_moments(columns, truth)))


def _line(predicted: Tensor, target: Tensor, valid: Tensor) -> tuple[float, float]:
    known = valid.numpy(force=True)
    if not known.any():
        return 0.0, 1.0
    depth, truth = (
        np.log(np.maximum(maps.numpy(force=True)[known], MIN_DEPTH, dtype=np.float64)) for maps in (predicted, target)
    )
    apart = depth - depth.mean()
    spread = apart @ apart
    slope = float(apart @ truth / spread) if spread > 1e-12 * len(depth) else 1.0
    return float(truth.mean() - slope * depth.mean()), slope
