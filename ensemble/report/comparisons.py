"""Differences between rows that can be told from chance, and the marks and sentences that say so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from ensemble.metrics.formulas import METRICS
from ensemble.metrics.statistics import Difference, Resampling, few_scenes, paired_differences
from ensemble.report.scores import REFERENCES, TABLE_METRICS, ImageScore, ScoreRow, Scores
from ensemble.runs.names import BEST_SINGLE, MEAN, SEED_MEAN

MARKS = {
    "above": "▲",
    "below": "▼",
    BEST_SINGLE: "†",
    SEED_MEAN: "‡",
}
"""What stands behind a value: above or below the plain mean, better than the two other references."""

MARK_WORDS = {
    "above": "significantly better than the plain mean",
    "below": "significantly worse than the plain mean",
    BEST_SINGLE: "significantly better than the best single learner",
    SEED_MEAN: "significantly better than the mean of seeds at equal cost",
}

REFERENCE_WORDS = {
    MEAN: "the plain mean",
    BEST_SINGLE: "the best single learner",
    SEED_MEAN: "the mean of seeds at equal cost",
}

LEVEL = 0.05


@dataclass(frozen=True)
class Comparisons:
    """Every pair of rows on the eight metrics, and how it was resampled.

    Attributes:
        differences: Pairs in the order of the rows, metrics in the order of the table.
        by: What was drawn.
        resamples: How often; 0 where there is a single scene and so nothing to draw.
        images: Images that were compared.
        scenes: Scenes that they come from.
    """

    differences: tuple[Difference, ...]
    by: Resampling
    resamples: int
    images: int
    scenes: int

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
    """Compare every pair of rows; repeats of a fit are averaged per image first.

    Args:
        scores: Which rows there are.
        images: Their scores per image; each row must have every image.
        by: What is drawn; single images only where a person asks for it.
        resamples: How often.

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


def leading_stack(scores: Scores) -> ScoreRow | None:
    """The stack that a report speaks of first: that with the lowest REL on the validation scenes, if there is a stack.

    Where the validation scenes chose by something else, it is the one with the lowest REL on the test images.
    """
    stacks = [row for row in scores.rows if row.kind == "stack"]
    rel = _validation_rel(stacks) or [row.scores["abs_rel"] for row in stacks]
    return min(zip(rel, stacks, strict=True), key=lambda pair: pair[0], default=(None, None))[1]


def summary(scores: Scores, comparisons: Comparisons) -> list[str]:
    """What the numbers say, in plain sentences."""
    leading = leading_stack(scores)
    if leading is None:
        return ["There is no stack among these rows, so there is nothing to hold against the plain mean."]
    stacks = [row for row in scores.rows if row.kind == "stack"]
    sentences = [f"Of one stack, {leading.title}, this is what {comparisons.images} test images say."]
    if len(stacks) > 1:
        chosen = (
            f"has the lowest REL on the validation scenes; this is what {comparisons.images} test images say of it."
            if _validation_rel(stacks)
            else f"has the lowest REL on {comparisons.images} test images; it is named first by these very images, "
            "which flatters it a little."
        )
        sentences = [f"Of {len(stacks)} stacks, {leading.title} {chosen}"]
    if not comparisons.resamples:
        return [*sentences, resampling_sentence(comparisons)]
    compared = [(each, comparisons.against(leading.name, each)) for each in REFERENCES if each != leading.name]
    sentences += [_verdict(REFERENCE_WORDS[name], found) for name, found in compared if found]
    missing = [REFERENCE_WORDS[name] for name, found in compared if not found]
    if missing:
        sentences.append(f"There is no row for {_listed(missing)}, so nothing is said about it.")
    others = [
        f"{row.title} {_counted(found)}"
        for row in stacks
        if row != leading and (found := comparisons.against(row.name, MEAN))
    ]
    if others:
        sentences.append(
            f"Significant differences of the others from the plain mean on {len(TABLE_METRICS)} metrics: "
            f"{'; '.join(others)}."
        )
    return sentences


def resampling_sentence(comparisons: Comparisons) -> str:
    """How intervals and p-values came about, and what they do not tell."""
    if not comparisons.resamples:
        return (
            f"No differences: all {comparisons.images} images are of one scene, and one scene tells nothing of others. "
            "Score more scenes, or ask for intervals over images with --by image."
        )
    by_scene = comparisons.by == "scene"
    unit = "whole scenes" if by_scene else "single images (as if frames of a scene were independent)"
    return (
        f"Intervals and p-values: paired bootstrap, {comparisons.resamples:,} resamples of {unit}, "
        f"{comparisons.images} images of {comparisons.scenes} scenes; p-values corrected over the "
        f"{len(TABLE_METRICS)} metrics of a pair (Holm), significant below {LEVEL:g}. Repeated fits are averaged per "
        f"image first: intervals speak of other {'scenes' if by_scene else 'images of these scenes'}, ± of other fits."
        f"{few_scenes(comparisons.scenes)}"
    )


def _validation_rel(stacks: Sequence[ScoreRow]) -> list[float]:
    """Of every stack; empty where it is not known of all."""
    known = [row.validation_rel for row in stacks if row.validation_rel is not None]
    return known if len(known) == len(stacks) else []


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


def _leans(each: Difference) -> str:
    """Which way a difference points, significant or not."""
    if each.difference == 0:
        return "equal"
    return "better" if (each.difference > 0) == METRICS[each.metric].higher_is_better else "worse"


def _verdict(reference: str, found: Sequence[Difference]) -> str:
    wins = [METRICS[each.metric].label for each in found if each.better == "first"]
    losses = [METRICS[each.metric].label for each in found if each.better == "second"]
    unclear = [f"{METRICS[each.metric].label} ({_leans(each)})" for each in found if each.better is None]
    ahead = sum(_leans(each) == "better" for each in found)
    parts = [f"better on {_share(ahead, len(found))} metrics", _significantly("", wins, len(found))]
    if losses:
        parts.append(_significantly("worse ", losses, len(found)))
    text = f"Against {reference} it is {', '.join(parts)}."
    return f"{text} Not significant: {_listed(unclear)}." if unclear else text


def _significantly(how: str, metrics: Sequence[str], count: int) -> str:
    if not metrics:
        return f"significantly {how}on none"
    if len(metrics) == count:
        return f"significantly {how}on every one"
    return f"significantly {how}on {len(metrics)} ({_listed(metrics)})"


def _share(part: int, whole: int) -> str:
    return f"all {whole}" if part == whole else f"{part} of {whole}" if part else f"none of {whole}"


def _counted(found: Sequence[Difference]) -> str:
    wins, losses = (sum(each.better == side for each in found) for side in ("first", "second"))
    return f"{wins} better, {losses} worse"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


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
