"""What tells the scale of a whole image: statistics of the image, of the learners' depths, and of where these differ.

None of them alone says anything of new scenes; together with the pooled features of a pretrained encoder they say a
little. Left and right are treated alike, because a mirrored room is as large as the room.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from meta.fusion import MIN_DEPTH

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def statistics_count(learners: int) -> int:
    """How many numbers ``statistics`` says of an image."""
    return 2 * 3 + 2 + len(QUANTILES) + 2 * learners + 1 + 2


def statistics(
    image: Float[Tensor, "b 3 h w"], depths: Float[Tensor, "b k h w"], weights: Float[Tensor, " k"]
) -> Float[Tensor, "b statistics"]:
    """Numbers that may tell the scale of images in [0, 1], from depths in metres and the weights of their log-mean.

    Mean and deviation of the three colours; mean, deviation and quantiles of the log depth; mean and deviation of
    every learner's difference from it, and the mean deviation between learners; slopes of the log depth from top to
    bottom and, whatever its sign, from left to right.
    """
    logs = depths.clamp(min=MIN_DEPTH).log()
    fused = (weights.view(1, -1, 1, 1) * logs).sum(dim=1, keepdim=True)
    apart = logs - fused
    colours, fused_pixels, apart_pixels = image.flatten(2), fused.flatten(1), apart.flatten(2)
    levels = torch.quantile(fused_pixels, fused_pixels.new_tensor(QUANTILES), dim=1).T
    return torch.cat(
        [
            *(colours.mean(dim=2), colours.std(dim=2)),
            *(fused_pixels.mean(dim=1, keepdim=True), fused_pixels.std(dim=1, keepdim=True), levels),
            *(apart_pixels.mean(dim=2), apart_pixels.std(dim=2)),
            logs.std(dim=1, correction=0).flatten(1).mean(dim=1, keepdim=True),
            *(_slope(fused.mean(dim=3)), _slope(fused.mean(dim=2)).abs()),
        ],
        dim=1,
    )


def pooled(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c"]:
    """Means over the image of a map of features."""
    return maps.mean(dim=(2, 3))


def _slope(profile: Float[Tensor, "b 1 n"]) -> Float[Tensor, "b 1"]:
    """Least-squares slope of values at evenly spaced places from -1 to 1."""
    places = torch.linspace(-1, 1, profile.shape[-1], dtype=profile.dtype, device=profile.device)
    return (profile * places).sum(dim=2) / places.square().sum()
