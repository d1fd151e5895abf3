"""From the learners' depths to one depth: per-pixel weights and fixed combiners.

All maps are metres, ``b k h w`` over k learners; a learner whose depth is not finite is named, never repaired.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

WEIGHTS = ("softmax", "correct", "free")
"""Kinds of weights: convex ones, the same convex ones everywhere with corrections in logs, and any real ones."""

SPACES = ("depth", "log")
"""Where weights are applied and corrections are added: to metres, or to their natural logarithms."""

MIN_DEPTH = 1e-3
"""Metres. Free weights and corrections may leave the positive numbers; no fused depth is smaller than this."""


def fuse(
    weights: Float[Tensor, "b k h w"],
    depths: Float[Tensor, "b k h w"],
    *,
    bias: Float[Tensor, "b 1 h w"] | None = None,
    space: str = "depth",
) -> Float[Tensor, "b 1 h w"]:
    """Weighted sum of the learners at every pixel, plus a correction, held at ``MIN_DEPTH`` or more.

    NaN passes through. A pixel that is held sends no gradient to its weights. In ``log`` space the result is the
    weighted geometric mean, depths below ``MIN_DEPTH`` count as it, and the correction is in natural-log units, else in
    metres.
    """
    if space not in SPACES:
        raise ValueError(f"fusion: space {space!r} is unknown, expected one of {', '.join(SPACES)}")
    terms = depths if space == "depth" else depths.clamp(min=MIN_DEPTH).log()
    fused = (weights * terms).sum(dim=1, keepdim=True)
    fused = fused if bias is None else fused + bias
    return (fused if space == "depth" else fused.exp()).clamp(min=MIN_DEPTH)


def split_maps(
    maps: Float[Tensor, "b maps h w"], learners: int
) -> tuple[Float[Tensor, "b {learners} h w"], Float[Tensor, "b 1 h w"] | None]:
    """Weights and correction out of what ``MetaUNet`` returns: one map per learner, and at most one more."""
    extra = maps.shape[1] - learners
    if extra not in (0, 1):
        raise ValueError(f"fusion: found {maps.shape[1]} maps, expected {learners} weights and at most one correction")
    return maps[:, :learners], maps[:, learners:] if extra else None


def shares(weights: Float[Tensor, "b k h w"], kind: str) -> Float[Tensor, "b k h w"]:
    """Weights as shares that sum to one; free weights count by their size, and share equally where all are 0."""
    if kind != "free":
        return weights
    size = weights.abs()
    total = size.sum(dim=1, keepdim=True)
    return torch.where(total > 0, size / total, 1 / weights.shape[1])


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


def check_depths(depths: Float[Tensor, "b k h w"], names: Sequence[str] | None = None) -> None:
    """Refuse depths that are NaN or infinite: their learners are named, with the number of such pixels."""
    faulty = (~torch.isfinite(depths)).sum(dim=(0, 2, 3)).tolist()
    if any(faulty):
        total = depths[:, 0].numel()
        labels = names or [str(index) for index in range(depths.shape[1])]
        listed = ", ".join(f"{label}: {count} of {total}" for label, count in zip(labels, faulty, strict=True) if count)
        raise ValueError(
            f"fusion: depths of learner {listed} pixels are not finite, expected metres everywhere; "
            "cache this learner again or leave it out of --learners"
        )


def check_weights(
    weights: Float[Tensor, "b k h w"],
    *,
    bias: Float[Tensor, "b 1 h w"] | None = None,
    kind: str = "softmax",
    tolerance: float = 1e-6,
) -> None:
    """Refuse weights that are none of their kind, and a correction that is not finite.

    The sum of convex weights may miss one by ``tolerance``; free weights need only be finite.

    Raises:
        ValueError: A convex weight is negative or not finite, or those of a pixel do not sum to one; a free weight or
            a correction is not finite; or the kind is unknown.
    """
    if kind not in WEIGHTS:
        raise ValueError(f"fusion: weights {kind!r} are unknown, expected one of {', '.join(WEIGHTS)}")
    for name, maps in (("weights", weights), ("corrections", bias)):
        if maps is not None and (kind == "free" or maps is bias) and not bool(maps.isfinite().all()):
            raise ValueError(f"fusion: {int((~maps.isfinite()).sum())} {name} are not finite, expected real numbers")
    if kind == "free":
        return
    if not bool((weights >= 0).all()):
        raise ValueError(f"fusion: {int((~(weights >= 0)).sum())} weights are negative or NaN, expected 0 or more")
    gap = float((weights.sum(dim=1) - 1).abs().max())
    if not gap <= tolerance:
        raise ValueError(f"fusion: weights of a pixel miss the sum 1 by {gap:.3g}, expected at most {tolerance:.3g}")
