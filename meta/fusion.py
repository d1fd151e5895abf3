"""From the learners' depths to one depth: per-pixel weights, fixed combiners, and the bounds no weights can pass.

All maps are metres, ``b k h w`` over k learners; a learner whose depth is not finite is named, never repaired.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def fuse(weights: Float[Tensor, "b k h w"], depths: Float[Tensor, "b k h w"]) -> Float[Tensor, "b 1 h w"]:
    """Weighted mean of the learners at every pixel."""
    return (weights * depths).sum(dim=1, keepdim=True)


def mean_depth(depths: Float[Tensor, "b k h w"]) -> Float[Tensor, "b 1 h w"]:
    """Plain mean of the learners."""
    return depths.mean(dim=1, keepdim=True)


def median_depth(depths: Float[Tensor, "b k h w"]) -> Float[Tensor, "b 1 h w"]:
    """Median of the learners; the mean of the middle two for an even number."""
    ordered = depths.sort(dim=1).values
    middle = depths.shape[1] // 2
    first = middle if depths.shape[1] % 2 else middle - 1
    return ordered[:, first : middle + 1].mean(dim=1, keepdim=True)


def log_mean_depth(depths: Float[Tensor, "b k h w"]) -> Float[Tensor, "b 1 h w"]:
    """Geometric mean of the learners; depths are positive."""
    return depths.log().mean(dim=1, keepdim=True).exp()


COMBINERS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": mean_depth,
    "median": median_depth,
    "log-mean": log_mean_depth,
}
"""Combiners without parameters, by the name in the tables."""


def oracle_pick(
    depths: Float[Tensor, "b k h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """At every valid pixel the learner nearest to the truth, elsewhere the plain mean: a bound for picking one."""
    error = (depths - torch.where(valid, target, 0.0)).abs()
    return torch.where(valid, depths.gather(1, error.argmin(dim=1, keepdim=True)), mean_depth(depths))


def oracle_convex(
    depths: Float[Tensor, "b k h w"], target: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """At every valid pixel the truth, held between the learners, elsewhere the plain mean: a bound for any weights."""
    lowest, highest = depths.amin(dim=1, keepdim=True), depths.amax(dim=1, keepdim=True)
    held = torch.maximum(torch.minimum(torch.where(valid, target, 0.0), highest), lowest)
    return torch.where(valid, held, mean_depth(depths))


def check_depths(depths: Float[Tensor, "b k h w"], names: Sequence[str] | None = None) -> None:
    """Refuse depths that are not finite.

    Args:
        depths: Metres, one map per learner.
        names: Of the learners, for the message.

    Raises:
        ValueError: A learner has a depth that is NaN or infinite; it is named with the number of such pixels.
    """
    faulty = (~torch.isfinite(depths)).sum(dim=(0, 2, 3)).tolist()
    if any(faulty):
        total = depths[:, 0].numel()
        labels = names or [str(index) for index in range(depths.shape[1])]
        listed = ", ".join(f"{label}: {count} of {total}" for label, count in zip(labels, faulty, strict=True) if count)
        raise ValueError(
            f"fusion: depths of learner {listed} pixels are not finite, expected metres everywhere; "
            "cache this learner again or leave it out of --learners"
        )


def check_weights(weights: Float[Tensor, "b k h w"], *, tolerance: float = 1e-6) -> None:
    """Refuse weights that are no weights.

    Raises:
        ValueError: A weight is negative or not finite, or the weights of a pixel do not sum to one.
    """
    if not bool((weights >= 0).all()):
        raise ValueError(f"fusion: {int((~(weights >= 0)).sum())} weights are negative or NaN, expected 0 or more")
    gap = float((weights.sum(dim=1) - 1).abs().max())
    if not gap <= tolerance:
        raise ValueError(f"fusion: weights of a pixel miss the sum 1 by {gap:.3g}, expected at most {tolerance:.3g}")
