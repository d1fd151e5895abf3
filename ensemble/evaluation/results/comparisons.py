"""Differences between rows that can be told from chance, and the marks and sentences that say so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float64

from ensemble.evaluation.results.scores import REFERENCES, ImageScore, ScoreRow, Scores
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.metrics.statistics import Difference, Resampling, paired_differences
from ensemble.runs.names import BEST_SINGLE, MEAN, SEED_MEAN

LEVEL = 0.05


@dataclass(frozen=True)
class Comparisons:
    """Every pair of rows on the eight metrics, and how it was resampled."""

    differences: tuple[Difference, ...]  # pairs in the order of the rows, metrics in the order of the table
    by: Resampling  # what was drawn
    resamples: int  # how often; 0 where there is a single scene and so nothing to draw
    images: int  # images that were compared
    scenes: int  # scenes that they come from

    def of(self, row: str, reference: str, metric: str) -> Difference | None:
        """``row`` minus ``reference``, whichever way round it was compared; absent where it was not."""
        if (each := self._by_pair.get((row, reference, metric))) is not None:
            return each
        turned = self._by_pair.get((reference, row, metric))
        return None if turned is None else _turned(turned)

    @cached_property
    def _by_pair(self) -> dict[tuple[str, str, str], Difference]:
        return {(each.first, each.second, each.metric): each for each in self.differences}

    def against(self, row: str, reference: str) -> list[Difference]:
        """``row`` minus ``reference`` on every metric of the table; empty where the pair was not compared."""
        found = [self.of(row, reference, metric) for metric in TABLE_METRICS]
        return [each for each in found if each is not None]


def compare(
    scores: Scores, images: Iterable[ImageScore], *, by: Resampling = "scene", resamples: int = 10_000
) -> Comparisons:
    """Compare every pair of rows by their scores per image; repeats of a fit are averaged per image first.

    Scenes are drawn ``resamples`` times; single images only where a person asks for it.

    Raises:
        ValueError: A row lacks images that another one has, or the means over images are not those of ``scores``.
    """
    rows = [row for row in scores.rows if row.kind != "published"]
    frames, table = _per_image(rows, list(images))
    scenes = {scene for _, scene in frames}
    if by == "scene" and len(scenes) == 1:
        return Comparisons((), by, 0, len(frames), 1)
    differences = paired_differences(
        table,
        [scene for _, scene in frames],
        rows=[row.name for row in rows],
        metrics={metric: METRICS[metric].higher_is_better for metric in TABLE_METRICS},
        by=by,
        resamples=resamples,
        level=LEVEL,
    )
    return Comparisons(tuple(differences), by, resamples, len(frames), len(scenes))


def row_marks(comparisons: Comparisons, row: ScoreRow, metric: str) -> tuple[str, ...]:
    """Keys of ``MARKS`` that a value has earned; none for bounds and published rows."""
    if row.kind in ("bound", "published"):
        return ()
    found = {reference: comparisons.of(row.name, reference, metric) for reference in REFERENCES}
    better = {reference: each.better for reference, each in found.items() if each is not None}
    side = better.get(MEAN)
    marks = () if side is None else ("above",) if side == "first" else ("below",)
    return (*marks, *(name for name in (BEST_SINGLE, SEED_MEAN) if better.get(name) == "first"))


Basis = Literal["cross-validation", "validation", "test"]
"""Frames that the stack is chosen by which a report speaks of first."""


def leading_stack(scores: Scores) -> ScoreRow | None:
    """The stack that a report speaks of first: that with the lowest REL on the frames of ``choice_basis``, if any."""
    stacks = [row for row in scores.rows if row.kind == "stack"]
    basis = choice_basis(stacks)
    rels = {
        "cross-validation": [row.choice_rel for row in stacks],
        "validation": [row.validation_rel for row in stacks],
        "test": [row.scores["abs_rel"] for row in stacks],
    }[basis]
    known = [(rel, row) for rel, row in zip(rels, stacks, strict=True) if rel is not None]
    return min(known, key=lambda pair: pair[0], default=(None, None))[1]


def choice_basis(stacks: Sequence[ScoreRow]) -> Basis:
    """The frames that are best to choose by of those that stacks were scored on.

    First come all frames of training, out-of-fold ones and those of validation scenes alike, each judged by fits that
    never saw its scene (`meta cross-validate`). A dozen validation scenes by themselves cannot tell stacks apart that
    differ by a percent, and have chosen the weights that they would judge. Out-of-fold frames by themselves give
    corrections of depth the wrong sign where one fold is deeper than the rest, which validation scenes, in no fold,
    do not. A stack that was not cross-validated (one of in-sample rows or of learners trained with it cannot be) is
    then passed over: nothing is known of it that could be compared. Where none was, the validation scenes choose alone;
    and where they have chosen by something else than REL, the test images, which are then no judges any more.
    """
    if any(row.choice_rel is not None for row in stacks):
        return "cross-validation"
    return "validation" if all(row.validation_rel is not None for row in stacks) else "test"


def best_simple(scores: Scores) -> tuple[ScoreRow, int] | None:
    """The row without a meta-learner that is best on most metrics of the table, and on how many; of equals by REL.

    Learners, combiners and fitted weights are such rows. It is chosen by the scores on the test images, so that a stack
    that is ahead of it is ahead of whatever a person could have taken instead.
    """
    simple = [row for row in scores.rows if row.kind in ("learner", "combiner", "fitted")]
    simple.sort(key=lambda row: row.name not in REFERENCES)  # the best single learner is a learner as well
    if not simple:
        return None
    wins = {row.name: sum(row.scores[each] == _best(each, simple) for each in TABLE_METRICS) for row in simple}
    found = min(simple, key=lambda row: (-wins[row.name], row.scores["abs_rel"]))
    return found, wins[found.name]


def _best(metric: str, rows: Sequence[ScoreRow]) -> float:
    return (max if METRICS[metric].higher_is_better else min)(row.scores[metric] for row in rows)


def _turned(each: Difference) -> Difference:
    better = {"first": "second", "second": "first"}.get(each.better or "")
    return replace(
        each,
        first=each.second,
        second=each.first,
        difference=0.0 - each.difference,
        low=0.0 - each.high,
        high=0.0 - each.low,
        better=better,
    )


def _per_image(
    rows: Sequence[ScoreRow], images: Sequence[ImageScore]
) -> tuple[list[tuple[str, str]], Float64[np.ndarray, "rows images metrics"]]:
    """Frames with their scenes, and the scores of every row on them, repeats averaged."""
    sums: dict[str, dict[tuple[str, str], list[list[float]]]] = {row.name: {} for row in rows}
    for image in images:
        if image.scores is not None and image.row in sums:
            values = [image.scores[metric] for metric in TABLE_METRICS]
            sums[image.row].setdefault((image.frame, image.scene), []).append(values)
    frames = sorted(sums[rows[0].name]) if rows else []
    table = np.zeros((len(rows), len(frames), len(TABLE_METRICS)))
    for index, row in enumerate(rows):
        found = sums[row.name]
        if sorted(found) != frames or any(len(repeats) != row.repeats for repeats in found.values()):
            odd = next((frame for frame, repeats in found.items() if len(repeats) != row.repeats), None)
            raise ValueError(
                f"row {row.name!r}: scores per image of {len(found)} images, expected the {len(frames)} of "
                f"{rows[0].name!r}, {row.repeats} of each{f' (first: {odd[0]})' if odd else ''}; evaluate again"
            )
        for place, frame in enumerate(frames):
            table[index, place] = np.mean(found[frame], axis=0)
        means, expected = table[index].mean(axis=0), [row.scores[metric] for metric in TABLE_METRICS]
        if frames and not np.allclose(means, expected, rtol=1e-6, atol=1e-9):
            metric = TABLE_METRICS[int(np.abs(means - expected).argmax())]
            raise ValueError(
                f"row {row.name!r}: the mean of {metric} over images is {means[TABLE_METRICS.index(metric)]:.6g}, the "
                f"table has {row.scores[metric]:.6g}: scores and scores per image are of different evaluations; "
                "evaluate again"
            )
    return frames, table
