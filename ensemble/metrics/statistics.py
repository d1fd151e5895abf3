"""Error bars: paired bootstrap over scenes, Holm's correction, mean and deviation over repeats.

Frames of one scene show the same room and err together, so whole scenes are drawn. The statistic is always the mean
over images, as in the tables. The bootstrap speaks of other scenes, not of other trainings: repeats from several seeds
are averaged per image before they come here, and their spread is told by ``mean_and_deviation``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped

Resampling = Literal["scene", "image"]
"""What is drawn with replacement: whole scenes, or single images as if frames of one scene were independent."""

Family = Literal["pair", "all"]
"""What p-values are corrected over: the metrics of each pair of rows, or every metric of every pair together."""

ENOUGH_SCENES = 20
"""With fewer the bootstrap's intervals are too narrow."""

_CHUNK = 1000


@dataclass(frozen=True)
class Difference:
    """Two rows compared on one metric, over the same images.

    Attributes:
        difference: Mean over images of first minus second, in the unit of the metric.
        low: Lower end of the 95 % percentile interval of the difference; ``high`` is the upper one.
        p: Two-sided bootstrap p-value.
        p_holm: Corrected over the metrics of this pair, or over all that it was compared together with.
        better: The row that is better after the correction; absent where the difference is not significant.
    """

    first: str
    second: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    better: Literal["first", "second"] | None


class Spread(NamedTuple):
    """Mean and sample standard deviation over repeats; one repeat has no deviation."""

    mean: float
    deviation: float | None
    repeats: int


def resampled_means(
    scores: Float[np.ndarray, "rows images metrics"],
    groups: Sequence[str],
    *,
    by: Resampling = "scene",
    resamples: int = 10_000,
    seed: int = 0,
) -> Float64[np.ndarray, "resamples rows metrics"]:
    """Means over images, again and again over scenes drawn with replacement; all rows share the same draws.

    Args:
        scores: One number per row, image and metric; images without valid pixels are left out beforehand.
        groups: Scene of each image.
        by: What is drawn; single images only where the caller asks for it.
        resamples: Number of draws.
        seed: Of the draws.

    Raises:
        ValueError: Numbers of images differ, there are fewer than two scenes, a score is not finite.

    Source: Efron and Tibshirani 1993, chapter 8 (units that are drawn together); a resample with more images of large
    scenes has more images, and its mean is divided by that number.
    """
    draws = _Draws.of(scores, groups, by=by, resamples=resamples, seed=seed)
    rows, images, metrics = scores.shape
    flat = scores.transpose(1, 0, 2).reshape(images, rows * metrics)
    return draws.means(flat).reshape(resamples, rows, metrics)


def paired_differences(
    scores: Float[np.ndarray, "rows images metrics"],
    groups: Sequence[str],
    *,
    rows: Sequence[str],
    metrics: Mapping[str, bool],
    by: Resampling = "scene",
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.05,
    family: Family = "pair",
) -> list[Difference]:
    """Every pair of rows on every metric: difference, 95 % interval, p-value, and which row is better.

    The interval holds the middle 95 % of the resampled differences; with fewer than about 20 scenes it is too narrow.
    The p-value is twice the smaller share of resampled differences on one side of zero, those at zero counted on
    both, with one added to both counts (so it is never zero), at most 1, and at least that of a sign test on which all
    groups agree, ``2 ** (1 - groups)``: five scenes or fewer make nothing significant.

    Arguments are those of ``resampled_means``; all pairs share the same draws, and the smallest p-value is ``2 /
    (resamples + 1)``. Rows are named along the first axis and metrics along the last, with whether a higher number is
    better; the entries follow their order. P-values are corrected over a ``family``, which is ``all`` where one table
    judges many pairs by the same metric; corrected ones below ``level`` are significant.

    Raises:
        ValueError: As in ``resampled_means``; or names are doubled, or are not as many as the scores have.

    Source: Davison and Hinkley 1997, sections 4.4 and 5.3; Holm 1979.
    """
    _check_names(scores, rows, metrics)
    draws = _Draws.of(scores, groups, by=by, resamples=resamples, seed=seed)
    pairs = list(combinations(range(len(rows)), 2))
    told, p_values = [], np.empty((len(pairs), len(metrics)))
    for number, (first, second) in enumerate(pairs):
        # Subtracted per image, before anything is summed: rows that agree differ by exactly nothing in every resample.
        per_image = scores[first].astype(np.float64) - scores[second]
        resampled = draws.means(per_image)
        beyond = np.minimum((resampled <= 0).sum(axis=0), (resampled >= 0).sum(axis=0))
        p_values[number] = np.clip(2 * (beyond + 1) / (resamples + 1), 2.0 ** (1 - len(draws.images)), 1.0)
        told.append((per_image.mean(axis=0), *np.percentile(resampled, (2.5, 97.5), axis=0)))
    corrected = holm(p_values.ravel()).reshape(p_values.shape) if family == "all" else map(holm, p_values)
    differences: list[Difference] = []
    for (first, second), columns, plain, raised in zip(pairs, told, p_values, corrected, strict=True):
        for metric, *numbers in zip(metrics, *columns, plain, raised, strict=True):
            difference, low, high, p, p_holm = map(float, numbers)
            better = _better(difference, higher=metrics[metric]) if p_holm < level else None
            differences.append(Difference(rows[first], rows[second], metric, difference, low, high, p, p_holm, better))
    return differences


def few_scenes(scenes: int) -> str:
    """What a reader must know of intervals over so few scenes, a sentence to follow others; else nothing."""
    if scenes >= ENOUGH_SCENES:
        return ""
    return (
        f" {scenes} scenes are few, with fewer than {ENOUGH_SCENES} intervals are too narrow: take what is called "
        "significant here for a hint."
    )


def holm(p_values: Float[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """P-values from 0 to 1, corrected for their number by Holm's step-down procedure, in the order given.

    Source: Holm 1979: the i-th smallest of n is multiplied by n - i + 1; results never fall and never pass 1.
    """
    if not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError(f"p-values {p_values.tolist()}: expected numbers from 0 to 1")
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return corrected


def mean_and_deviation(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation (divided by n - 1) of one number over one or more finite repeats."""
    repeats = np.asarray(values, dtype=np.float64)
    if not len(repeats) or not np.isfinite(repeats).all():
        raise ValueError(f"repeats {repeats.tolist()}: expected one or more finite numbers; leave failed repeats out")
    deviation = float(repeats.std(ddof=1)) if len(repeats) > 1 else None
    return Spread(mean=float(repeats.mean()), deviation=deviation, repeats=len(repeats))


@dataclass(frozen=True)
class _Draws:
    """How often each group is in each resample; made once, used for every pair.

    ``members`` is the index of the group of every image, ``images`` the size of each group; counts are small integers
    to save memory.
    """

    members: Int64[np.ndarray, " images"]
    images: Int64[np.ndarray, " groups"]
    counts: Shaped[np.ndarray, "resamples groups"]

    @classmethod
    def of(cls, scores: np.ndarray, groups: Sequence[str], *, by: Resampling, resamples: int, seed: int) -> "_Draws":
        """Draw as many groups as there are, with replacement."""
        _check_scores(scores, groups, by=by, resamples=resamples)
        units = groups if by == "scene" else [str(index) for index in range(len(groups))]
        _, members, images = np.unique(np.asarray(units, dtype=str), return_inverse=True, return_counts=True)
        if len(images) < 2:
            raise ValueError(
                f"bootstrap over {by}s: {len(images)} {by} ({next(iter(units), 'none')}), expected at least 2; "
                "score frames of more scenes, no interval can be told from one"
            )
        generator = np.random.default_rng(seed)
        shares = np.full(len(images), 1 / len(images))
        counts = np.empty((resamples, len(images)), dtype=np.min_scalar_type(len(images)))
        for chunk in _chunks(resamples):
            counts[chunk] = generator.multinomial(len(images), shares, size=chunk.stop - chunk.start)
        return cls(members=members, images=images, counts=counts)

    def means(self, per_image: Float[np.ndarray, "images columns"]) -> Float64[np.ndarray, "resamples columns"]:
        """Mean over the images of each resample."""
        sums = np.zeros((len(self.images), per_image.shape[1]))
        np.add.at(sums, self.members, per_image)
        means = np.empty((len(self.counts), per_image.shape[1]))
        for chunk in _chunks(len(self.counts)):
            counts = self.counts[chunk].astype(np.float64)
            means[chunk] = (counts @ sums) / (counts @ self.images)[:, None]
        return means


def _chunks(resamples: int) -> Iterator[slice]:
    return (slice(start, min(start + _CHUNK, resamples)) for start in range(0, resamples, _CHUNK))


def _better(difference: float, *, higher: bool) -> Literal["first", "second"] | None:
    if difference == 0:
        return None
    return "first" if (difference > 0) == higher else "second"


def _check_scores(scores: np.ndarray, groups: Sequence[str], *, by: Resampling, resamples: int) -> None:
    if by not in ("scene", "image"):
        raise ValueError(f"bootstrap by {by!r}, expected 'scene' or 'image'")
    if resamples < 1:
        raise ValueError(f"bootstrap with {resamples} resamples, expected at least 1 (10000 for a result)")
    if scores.ndim != 3:
        raise ValueError(f"bootstrap: scores of shape {scores.shape}, expected rows, images and metrics")
    if isinstance(groups, str) or len(groups) != scores.shape[1]:
        raise ValueError(
            f"bootstrap: {scores.shape[1]} images but {len(groups)} scenes in groups, expected the scene of each image"
        )
    if not np.isfinite(scores).all():
        row, image, metric = np.argwhere(~np.isfinite(scores))[0].tolist()
        raise ValueError(
            f"bootstrap: {int((~np.isfinite(scores)).sum())} scores are NaN or infinite (first: row {row}, image "
            f"{image}, metric {metric}), expected numbers; leave images without valid pixels out of every row"
        )


def _check_names(scores: np.ndarray, rows: Sequence[str], metrics: Mapping[str, bool]) -> None:
    if scores.ndim == 3 and (len(rows), len(metrics)) != (scores.shape[0], scores.shape[2]):
        raise ValueError(
            f"bootstrap: {len(rows)} names of rows and {len(metrics)} of metrics for scores of "
            f"{scores.shape[0]} rows and {scores.shape[2]} metrics"
        )
    if len(set(rows)) != len(rows):
        raise ValueError(f"bootstrap: rows {list(rows)} have a name twice, expected one name per row")
