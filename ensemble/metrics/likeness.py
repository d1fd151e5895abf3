"""How alike learners err: their log errors on an image, split into its scale and what varies within it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64
from torch import Tensor


class ErrorParts(NamedTuple):
    """Natural-log errors of the learners and of their plain mean on one image, over its valid pixels.

    Attributes:
        scales: Mean log error of every learner: the scale of the image as the learner sees it.
        within: Mean products of what is left of every two learners' errors.
        mean_scale: Mean log error of the plain mean.
        mean_within: Mean square of what is left of it.
        disagreement: Mean square of the learners' distance from their mean log depth.
        inside: Share of pixels whose truth lies between the nearest and the farthest learner.
    """

    scales: Float64[np.ndarray, " k"]
    within: Float64[np.ndarray, "k k"]
    mean_scale: float
    mean_within: float
    disagreement: float
    inside: float


def error_parts(
    predicted: Float[Tensor, "k 1 h w"], target: Float[Tensor, "1 1 h w"], valid: Bool[Tensor, "1 1 h w"]
) -> ErrorParts:
    """The errors of k learners on one image, depth in metres, positive where valid.

    Raises:
        ValueError: No pixel is valid, or a valid depth is not positive and finite.
    """
    known = valid[0, 0].numpy(force=True)
    depth = predicted[:, 0].numpy(force=True)[:, known].astype(np.float64)
    truth = target[0, 0].numpy(force=True)[known].astype(np.float64)
    if not known.any():
        raise ValueError("errors of learners: no pixel of the image is valid; leave it out")
    unusable = int((~(np.isfinite(depth) & (depth > 0)).all(axis=0) | ~(np.isfinite(truth) & (truth > 0))).sum())
    if unusable:
        raise ValueError(f"errors of learners: {unusable} of {len(truth)} valid pixels have depth that is not positive")
    log_truth = np.log(truth)
    errors = np.log(depth) - log_truth
    scales = errors.mean(axis=1)
    left = errors - scales[:, None]
    within = left @ left.T / len(truth)
    mean_error = np.log(depth.mean(axis=0)) - log_truth
    apart = errors - errors.mean(axis=0)
    inside = (depth.min(axis=0) <= truth) & (truth <= depth.max(axis=0))
    return ErrorParts(
        scales,
        within,
        float(mean_error.mean()),
        float(mean_error.var()),
        float(np.square(apart).mean()),
        float(inside.mean()),
    )


LEAST_VARIANCE = 1e-18
"""Squared natural-log units, a deviation of a billionth: what varies by less does so by rounding."""


def correlations(covariance: Float64[np.ndarray, "k k"]) -> tuple[tuple[float | None, ...], ...]:
    """Correlation of every two log errors; ``None`` with one that does not vary."""
    variance = np.diag(covariance)
    size = np.sqrt(np.where(variance > LEAST_VARIANCE, variance, np.nan))
    found = np.clip(covariance / size[:, None] / size, -1, 1)
    return tuple(tuple(None if np.isnan(each) else float(each) for each in row) for row in found)
