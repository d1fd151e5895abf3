"""Combiners with few parameters, fitted on pixels: one weight per learner, or one per learner and range of depth.

They stand between the plain mean and the meta-learner: what a network must beat to earn its parameters. The bar is the
weighted log-mean.

Which error is minimised: the weighted log-mean has the least squared error in logs. Of the others, six of the eight
metrics of the field (d1, d2, d3, REL, RMSElog, log10) judge the error relative to the truth, SqREL stands between, and
RMSE alone judges metres. In metres an error of 5 % at 9 m weighs 81 times one of 5 % at 1 m, so that far walls would
choose the weights. Their default is therefore ``relative``; ``metres`` is there for who asks for RMSE. The metrics are
means over images: a caller who samples the same number of pixels from every image gives every image the same say.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from meta.fusion import MIN_DEPTH, fuse

Weighting = Literal["relative", "metres"]
"""Squared error divided by a squared depth, or squared error in square metres."""

PIXELS_PER_WEIGHT = 25
"""A fit with fewer pixels than this per learner is refused; a range with fewer is merged with the next."""

LEAST_UNIT = 0.1
"""Errors are relative to at least this share of the median depth: where all learners say nearly nothing, one pixel
would otherwise outweigh all others."""


@dataclass(frozen=True)
class ConstantWeights:
    """The same weights at every pixel, 0 or more, over metres or over their logarithms."""

    weights: tuple[float, ...]
    space: str = "depth"  # one of ``SPACES``

    def __post_init__(self) -> None:
        _check_weights([self.weights])

    def weigh(self, depths: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        """The weights, at every pixel; refuses more or fewer learners than weights."""
        _check_learners(depths, len(self.weights))
        return depths.new_tensor(self.weights).view(1, -1, 1, 1).expand_as(depths)

    def combine(self, depths: Float[Tensor, "b k h w"]) -> Float[Tensor, "b 1 h w"]:
        """Weighted sum of the learners; weighted geometric mean of weights in logs."""
        return fuse(self.weigh(depths), depths, space=self.space)


@dataclass(frozen=True)
class RangeWeights:
    """Weights that follow the mean depth of the learners: linear between the centres of ranges, constant outside.

    A range has one weight of 0 or more per learner; centres are mean depths in metres, ascending.
    """

    centres: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]
    weighting: Weighting

    def __post_init__(self) -> None:
        _check_weights(self.weights)
        if len(self.centres) != len(self.weights) or not (np.diff(self.centres) > 0).all():
            raise ValueError(
                f"depth-range weights: {len(self.weights)} ranges with centres {self.centres}, expected one per range "
                "and ascending; fit the combiner again"
            )

    def weigh(self, depths: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        """Weights at the mean depth of every pixel; refuses more or fewer learners than weights."""
        _check_learners(depths, len(self.weights[0]))
        shares = _range_shares(depths.mean(dim=1), depths.new_tensor(self.centres))
        return (shares @ depths.new_tensor(self.weights)).movedim(-1, 1)

    def combine(self, depths: Float[Tensor, "b k h w"]) -> Float[Tensor, "b 1 h w"]:
        """Weighted sum of the learners."""
        return fuse(self.weigh(depths), depths)


Combiner = ConstantWeights | RangeWeights
"""What a fit gives."""


def inverse_variance(
    depths: Float[np.ndarray, "n k"], target: Float[np.ndarray, " n"], *, weighting: Weighting = "relative"
) -> ConstantWeights:
    """Each learner weighs one over its mean squared error; the weights sum to 1.

    The best weights where the learners' errors are independent and have mean zero. They are neither, so this is a
    simple rule and no optimum: a learner's bias counts as error, and errors that learners share are not seen.
    Learners without any error divide the weight among themselves.
    """
    _check_pixels(depths, target)
    errors = depths.astype(np.float64) - target[:, None]
    squared = np.square(errors / _unit(target, weighting)[:, None]).mean(axis=0)
    precision = 1 / squared if squared.all() else (squared == 0).astype(np.float64)
    return ConstantWeights(tuple((precision / precision.sum()).tolist()))


def weighted_log_mean(depths: Float[np.ndarray, "n k"], target: Float[np.ndarray, " n"]) -> ConstantWeights:
    """One weight per learner in logs, 0 or more and of sum 1, of least squared log error over all pixels.

    Because of the sum the depth is a weighted geometric mean: it lies between the learners at every pixel, and no scale
    that the learners share is corrected. Depths below ``MIN_DEPTH`` count as it, as in the fusion.
    """
    _check_pixels(depths, target)
    return ConstantWeights(tuple(convex_weights(log_moments(depths, target)).tolist()), "log")


def log_moments(depths: Float[np.ndarray, "n k"], target: Float[np.ndarray, " n"]) -> Float64[np.ndarray, "k k"]:
    """Mean products of the learners' natural-log errors over pixels: all that weights of sum 1 need to know.

    The squared log error of weights ``w`` of sum 1 is ``w @ moments @ w``. Moments of several images are averaged with
    the say that each image has. Depth is metres of valid pixels.
    """
    errors = np.log(np.maximum(depths, MIN_DEPTH, dtype=np.float64)) - np.log(target, dtype=np.float64)[:, None]
    return errors.T @ errors / len(errors)


def convex_weights(moments: Float64[np.ndarray, "k k"]) -> Float64[np.ndarray, " k"]:
    """The weights of 0 or more and of sum 1 that make ``w @ moments @ w`` least.

    Non-negative least squares on ``[root of the moments; 1] w = [0; 1]``: whatever the sum ``c`` of its solution, its
    objective ``c**2 q + (1 - c)**2`` is least, at ``q / (1 + q)``, where the error ``q`` of the weights divided by
    their sum is. So the constraint holds exactly and has no penalty that must be chosen. Of learners that err alike the
    weights are not unique, the error is.

    Source: Lawson and Hanson 1974, chapter 23 (non-negative least squares).
    """
    from scipy.optimize import nnls

    learners = len(moments)
    size = np.trace(moments) / learners
    values, vectors = np.linalg.eigh(moments / size if size > 0 else np.zeros_like(moments))
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    weights, _ = nnls(np.vstack([root, np.ones(learners)]), np.append(np.zeros(learners), 1.0))
    return weights / weights.sum()


def depth_range(
    depths: Float[np.ndarray, "n k"],
    target: Float[np.ndarray, " n"],
    *,
    ranges: int = 8,
    weighting: Weighting = "relative",
) -> RangeWeights:
    """Non-negative weights per range of the learners' mean depth, without a jump between ranges.

    Ranges hold equal numbers of pixels; one that would hold fewer than ``PIXELS_PER_WEIGHT`` per learner is merged with
    the next. The weights at all centres are fitted together, for exactly the depth that ``combine`` will make: each
    pixel belongs to the two centres around it in the shares of the interpolation.

    Sums are free and correct a scale that the learners share. Relative errors are those relative to the learners' mean;
    the weights are then scaled to a mean log of prediction over truth of 0. Least squares alone would not do: where log
    errors have mean 0 and variance ``s``, errors relative to the truth give the sum ``exp(-1.5 s)``, and those relative
    to the prediction ``exp(0.5 s)``. Of learners that say the same the weights are not unique, the depth is.
    """
    _check_pixels(depths, target)
    if ranges < 1:
        raise ValueError(f"depth-range weights: {ranges} ranges, expected at least 1")
    depths = depths.astype(np.float64)
    mean, learners = depths.mean(axis=1), depths.shape[1]
    centres = _range_centres(mean, ranges=ranges, least=PIXELS_PER_WEIGHT * learners)
    shares = _range_shares(torch.from_numpy(mean), torch.from_numpy(centres)).numpy()
    columns = (shares[:, :, None] * depths[:, None, :]).reshape(len(depths), -1)
    weights = _fitted_weights(columns, target, mean, weighting).reshape(len(centres), learners)
    return RangeWeights(tuple(centres.tolist()), tuple(map(tuple, weights.tolist())), weighting)


FITTED_COMBINERS: dict[str, Callable[[np.ndarray, np.ndarray], Combiner]] = {
    "inverse-variance": inverse_variance,
    "weighted-log-mean": weighted_log_mean,
    "depth-range": depth_range,
}
"""Combiners that are fitted on pixels, by the name in the tables.

Depth is metres of valid pixels with a column per learner, truth metres too; ``depth-range`` scales a single learner. A
``ValueError`` refuses no learner, too few pixels, and depth that is not finite and positive.
"""


def _range_centres(mean: Float64[np.ndarray, " n"], *, ranges: int, least: int) -> Float64[np.ndarray, " r"]:
    """Mean depth in each range; ranges end at quantiles, where enough pixels lie on both sides."""
    edges = np.unique(np.quantile(mean, np.linspace(0, 1, ranges + 1)))
    below = np.searchsorted(np.sort(mean), edges[1:-1])
    ends, last = [], 0
    for edge, count in zip(edges[1:-1], below, strict=True):
        if count - last >= least and len(mean) - count >= least:
            ends.append(edge)
            last = count
    members = np.searchsorted(ends, mean, side="right")
    return np.bincount(members, weights=mean) / np.bincount(members)


def _range_shares(mean: Float[Tensor, "*pixels"], centres: Float[Tensor, " r"]) -> Float[Tensor, "*pixels r"]:
    """Share of each centre in the linear interpolation at a depth: two neighbours sum to 1, all others are 0."""
    steps = ((mean[..., None] - centres[:-1]) / centres.diff()).clamp(0, 1)
    position = steps.sum(dim=-1, keepdim=True)
    return (1 - (position - torch.arange(len(centres)).to(centres)).abs()).clamp(min=0)


def _fitted_weights(
    columns: Float64[np.ndarray, "n c"],
    target: Float[np.ndarray, " n"],
    mean: Float64[np.ndarray, " n"],
    weighting: Weighting,
) -> Float64[np.ndarray, " c"]:
    """Non-negative coefficients of the columns; ``mean`` is the depth that relative errors are relative to."""
    from sklearn.linear_model import LinearRegression

    truth = target.astype(np.float64)
    unit = _unit(np.maximum(mean, LEAST_UNIT * np.median(mean)), weighting)
    fit = LinearRegression(positive=True, fit_intercept=False)
    weights = fit.fit(columns, truth, sample_weight=unit**-2).coef_
    if weighting == "metres":
        return weights
    return weights * np.exp(np.log(truth / np.maximum(columns @ weights, MIN_DEPTH)).mean())


def _unit(depth: Float[np.ndarray, " n"], weighting: Weighting) -> Float64[np.ndarray, " n"]:
    """What an error is divided by before it is squared."""
    metres = depth.astype(np.float64)
    return metres if _known_weighting(weighting) == "relative" else np.ones_like(metres)


def _known_weighting(weighting: str) -> Weighting:
    if weighting != "relative" and weighting != "metres":
        raise ValueError(f"fitted combiner: weighting {weighting!r}, expected 'relative' or 'metres'")
    return weighting


def _check_pixels(depths: np.ndarray, target: np.ndarray) -> None:
    pixels, learners = depths.shape
    if not learners:
        raise ValueError("fitted combiner: 0 learners, expected at least 1")
    if len(target) != pixels:
        raise ValueError(f"fitted combiner: depths of {pixels} pixels and truth of {len(target)}, expected one each")
    if pixels < PIXELS_PER_WEIGHT * learners:
        raise ValueError(
            f"fitted combiner: {pixels} pixels for {learners} learners, expected at least "
            f"{PIXELS_PER_WEIGHT * learners}; sample more valid pixels or more frames"
        )
    for index, column in enumerate(depths.T):
        unusable = int((~(np.isfinite(column) & (column >= 0))).sum())
        if unusable or not column.any():
            found = f"{unusable} of {pixels} depths are negative, NaN or infinite" if unusable else "every depth is 0"
            raise ValueError(
                f"fitted combiner: {found} for learner {index}, expected metres; cache this learner again or leave it "
                "out of --learners"
            )
    unusable = int((~(np.isfinite(target) & (target > 0))).sum())
    if unusable:
        raise ValueError(
            f"fitted combiner: {unusable} of {pixels} true depths are not positive and finite, expected valid pixels "
            "only; select them by the mask"
        )


def _check_weights(ranges: Sequence[Sequence[float]]) -> None:
    table = [len(weights) for weights in ranges]
    if not table or len(set(table)) != 1 or not table[0]:
        raise ValueError(f"fitted combiner: ranges with {table} weights, expected the same learners in each")
    if not all(0 <= weight < float("inf") for weights in ranges for weight in weights):
        raise ValueError(f"fitted combiner: weights {list(ranges)}, expected finite numbers of 0 or more; fit it again")


def _check_learners(depths: Tensor, learners: int) -> None:
    if depths.shape[1] != learners:
        raise ValueError(
            f"fitted combiner: depths of {depths.shape[1]} learners, but it was fitted on {learners}; "
            "give the learners of the fit, in their order"
        )
