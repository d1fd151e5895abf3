"""What comparisons say, in marks and in plain sentences."""

from collections.abc import Mapping, Sequence

from ensemble.evaluation.results.comparisons import (
    LEVEL,
    Basis,
    Comparisons,
    best_simple,
    choice_basis,
    leading_stack,
)
from ensemble.evaluation.results.scores import REFERENCES, ScoreRow, Scores
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.metrics.statistics import Difference, few_scenes
from ensemble.runs.names import BAR, BEST_SINGLE, MEAN, SEED_MEAN
from ensemble.tables import Mark

MARKS = {
    "above": Mark("▲", "significantly better than the plain mean"),
    "below": Mark("▼", "significantly worse than the plain mean"),
    BEST_SINGLE: Mark("†", "significantly better than the best single learner"),
    SEED_MEAN: Mark("‡", "significantly better than the mean of seeds at equal cost"),
}
"""What stands behind a value: above or below the plain mean, better than the two other references."""

REFERENCE_WORDS = {
    MEAN: "the plain mean",
    BEST_SINGLE: "the best single learner",
    SEED_MEAN: "the mean of seeds at equal cost",
}


CHOSEN: Mapping[Basis, str] = {
    "cross-validation": "has the lowest REL over out-of-fold frames and validation scenes together, by fits that never "
    "saw them (`meta cross-validate` of {judged} stacks); this is what {images} test images say of it.",
    "validation": "has the lowest REL on the validation scenes, which are few to choose by (`meta cross-validate` of "
    "every stack chooses on out-of-fold frames as well); this is what {images} test images say of it.",
    "test": "has the lowest REL on {images} test images; it is named first by these very images, which flatters it a "
    "little.",
}
"""How the stack was chosen that is spoken of first."""


def summary(scores: Scores, comparisons: Comparisons) -> list[str]:
    """What the numbers say, in plain sentences."""
    leading = leading_stack(scores)
    if leading is None:
        return ["There is no stack among these rows, so there is nothing to hold against the plain mean."]
    stacks = [row for row in scores.rows if row.kind == "stack"]
    simple = best_simple(scores)
    sentences = [] if simple is None else _against_simple(leading, *simple, comparisons)
    sentences.append(f"Of one stack, {leading.title}, this is what {comparisons.images} test images say.")
    if len(stacks) > 1:
        chosen = CHOSEN[choice_basis(stacks)].format(
            images=comparisons.images, judged=_share(sum(row.choice_rel is not None for row in stacks), len(stacks))
        )
        sentences[-1] = f"Of {len(stacks)} stacks, {leading.title} {chosen}"
    if not comparisons.resamples:
        return [*sentences, resampling_sentence(comparisons)]
    told = None if simple is None else simple[0].name
    compared = [(each, comparisons.against(leading.name, each)) for each in REFERENCES if each != told]
    sentences += [_verdict(f"Against {REFERENCE_WORDS[name]} it is", found) for name, found in compared if found]
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


def mark_legend() -> str:
    """What every mark says."""
    return f"{'; '.join(f'{mark.symbol} {mark.words}' for mark in MARKS.values())}."


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


def _leans(each: Difference) -> str:
    """Which way a difference points, significant or not."""
    if each.difference == 0:
        return "equal"
    return "better" if (each.difference > 0) == METRICS[each.metric].higher_is_better else "worse"


def _against_simple(leading: ScoreRow, simple: ScoreRow, wins: int, comparisons: Comparisons) -> list[str]:
    """What the stack is beside the best that can be had without one, and beside the bar; and how that was chosen."""
    row = REFERENCE_WORDS[MEAN] if simple.name == MEAN else simple.title
    is_bar = ", the bar for every stack" * (simple.name == BAR)
    named = f"Against the best simple row, {row}{is_bar}, {leading.title} is"
    if found := comparisons.against(leading.name, simple.name):
        bar = [] if is_bar else comparisons.against(leading.name, BAR)
        also = f"; against the weighted log-mean, the bar for every stack, {', '.join(_parts(bar))}" if bar else ""
        first = _verdict(named, found, also)
    else:
        signs = {each: 1 if METRICS[each].higher_is_better else -1 for each in TABLE_METRICS}
        ahead = sum(sign * leading.scores[each] > sign * simple.scores[each] for each, sign in signs.items())
        first = f"{named} better on {_share(ahead, len(TABLE_METRICS))} metrics."
    most = f"the best on the greatest number of metrics ({wins} of {len(TABLE_METRICS)})"
    chosen = f"Of all rows without a meta-learner that one is {most}"
    return [first, f"{chosen}, chosen by these very {comparisons.images} test images, which flatters it a little."]


def _ahead(found: Sequence[Difference]) -> int:
    return sum(_leans(each) == "better" for each in found)


def _parts(found: Sequence[Difference]) -> list[str]:
    """On how many metrics a row is better, and on which significantly so, or worse."""
    wins = [METRICS[each.metric].label for each in found if each.better == "first"]
    losses = [METRICS[each.metric].label for each in found if each.better == "second"]
    worse = [_significantly("worse ", losses, len(found))] if losses else []
    return [f"better on {_share(_ahead(found), len(found))} metrics", _significantly("", wins, len(found)), *worse]


def _verdict(begins: str, found: Sequence[Difference], also: str = "") -> str:
    unclear = [f"{METRICS[each.metric].label} ({_leans(each)})" for each in found if each.better is None]
    text = f"{begins} {', '.join(_parts(found))}{also}."
    all_or_none = _ahead(found) in (0, len(found))
    said = len(unclear) == len(found) and all_or_none  # by the count and by "significantly on none"
    against = " against that row" * bool(also)
    return f"{text} Not significant{against}: {_listed(unclear)}." if unclear and not said else text


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
