"""The scale of whole images, learnt from rows: kernel ridge regression with as much decay as left-out scenes want.

The target is the mean log error of the weighted log-mean on an image. Its own mean over the rows is left out: every
metric wants another factor for all images (d1 a larger one, REL a smaller one), so such a factor is a trade between
metrics and knows nothing of images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ensemble.stacking.shrinkage import LEAST_SCENES

COMPONENTS = 48
"""Principal components of the pooled features, at most."""

ROWS_PER_COMPONENT = 8
"""Of fewer rows there are fewer components: kernels of many directions without meaning are alike for all images."""

SPREADS = (0.1, 0.3, 1.0)
"""Kernels that are tried: ``gamma`` times the number of features."""

DECAYS = (1, 3, 10, 30, 100)
"""Ridges that are tried, all of them strong; the alternative to all is no correction."""

PARTS = 10
"""Into which scenes are divided to choose decay and kernel; as many as there are scenes, if these are fewer."""


@dataclass(frozen=True)
class ScaleRows:
    """Images, with what is seen of them and what their scale misses.

    Attributes:
        features: Pooled features of the frozen encoder.
        statistics: Of image and depths.
        target: Mean over the valid pixels of the log of truth over weighted log-mean.
        scenes: That images are of.
    """

    features: Float64[np.ndarray, "n c"]
    statistics: Float64[np.ndarray, "n s"]
    target: Float64[np.ndarray, " n"]
    scenes: Sequence[str]


def fit_scale(rows: ScaleRows) -> dict[str, Tensor]:
    """The buffers of ``ScaleHead``; those of no correction where left-out scenes are not predicted better than by 0."""
    mean, axes = _principal_axes(rows.features)
    seen = np.concatenate([(rows.features - mean) @ axes.T, rows.statistics], axis=1)
    centre, deviation = seen.mean(axis=0), seen.std(axis=0)
    deviation = np.where(deviation > 1e-8 * np.maximum(1.0, np.abs(centre)), deviation, 1.0)
    standardised = (seen - centre) / deviation
    target = rows.target - rows.target.mean()
    squared = np.square(standardised[:, None] - standardised[None]).sum(axis=2)
    chosen = _chosen(squared / standardised.shape[1], target, rows.scenes)
    spread, dual = 1.0, np.zeros(0)
    if chosen is not None:
        spread, decay = chosen
        dual = _dual(np.exp(-spread * squared / standardised.shape[1]), target, decay)
    kept = {
        "pooled_mean": mean,
        "components": axes,
        "mean": centre,
        "deviation": deviation,
        "rows": standardised[: len(dual)],
        "dual": dual,
        "gamma": np.float64(spread / standardised.shape[1]),
    }
    return {name: torch.as_tensor(value, dtype=torch.float32) for name, value in kept.items()}


def _principal_axes(
    features: Float64[np.ndarray, "n c"],
) -> tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, "p c"]]:
    count = min(COMPONENTS, max(1, len(features) // ROWS_PER_COMPONENT), features.shape[1])
    mean = features.mean(axis=0)
    return mean, np.linalg.svd(features - mean, full_matrices=False)[2][:count]


def _chosen(
    squared: Float64[np.ndarray, "n n"], target: Float64[np.ndarray, " n"], scenes: Sequence[str]
) -> tuple[float, int] | None:
    """Kernel and decay with the least squared error on scenes left out; ``None`` where 0 has less, or of few scenes."""
    from sklearn.model_selection import GroupKFold

    count = min(PARTS, len(set(scenes)))
    if count < LEAST_SCENES:
        return None
    parts = list(GroupKFold(count).split(target, groups=scenes))
    errors: Mapping[tuple[float, int], float] = {
        (spread, decay): _left_out(np.exp(-spread * squared), target, decay, parts)
        for spread in SPREADS
        for decay in DECAYS
    }
    best = min(errors, key=errors.__getitem__)
    return best if errors[best] < np.square(target).sum() else None


def _left_out(
    kernel: Float64[np.ndarray, "n n"],
    target: Float64[np.ndarray, " n"],
    decay: int,
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
) -> float:
    """Squared error on every part, by a fit to the others."""
    return sum(
        float(
            np.square(
                target[out] - kernel[np.ix_(out, fit)] @ _dual(kernel[np.ix_(fit, fit)], target[fit], decay)
            ).sum()
        )
        for fit, out in parts
    )


def _dual(kernel: Float64[np.ndarray, "n n"], target: Float64[np.ndarray, " n"], decay: int) -> Float[np.ndarray, " n"]:
    from sklearn.kernel_ridge import KernelRidge

    return KernelRidge(alpha=decay, kernel="precomputed").fit(kernel, target).dual_coef_
