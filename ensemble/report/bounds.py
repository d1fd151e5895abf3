"""What bounds say, in sentences: what head-room is measured by, and how alike the learners err."""

from collections.abc import Iterator

from ensemble.evaluation.results.likeness import Correlations, Likeness
from ensemble.evaluation.results.scores import Scores, headroom
from ensemble.report.wording import decimals, share
from ensemble.runs.names import ORACLE, SHUFFLED
from ensemble.tables import Row, Table, plain_table


def headroom_sentences(scores: Scores) -> list[str]:
    """What head-room is measured by, and why not by the convex oracle; nothing where there is no head-room."""
    if all(value is None for value in headroom(scores, "abs_rel").values()):
        return []
    measure = (
        "Head-room goes from the plain mean (0 %) to the best weights per image (100 %): one weight per learner, 0 or "
        "more and of sum 1, fitted in logs to the truth of each image."
    )
    luck = headroom(scores, "abs_rel", bound=ORACLE).get(SHUFFLED)
    if luck is None:
        return [measure]
    return [
        measure,
        "The convex oracle, the best weights at every pixel, is no such measure: with the learners' disagreement taken "
        f"from another image it keeps {share(luck)} of its head-room in REL, for which no learner need know anything.",
    ]


def likeness_sentences(alike: Likeness) -> list[str]:
    """What the learners share, in plain sentences."""
    found = []
    for what, correlations in (("errors within images", alike.within), ("the scales of images", alike.scales)):
        if known := sorted(value for *_, value in pairs(alike, correlations) if value is not None):
            span = decimals(known[0]) if len(known) == 1 else f"{decimals(known[0])} to {decimals(known[-1])}"
            found.append(f"correlation of {what} (logs) {span}")
    images = "one image" if alike.images == 1 else f"{alike.images} images"
    sentences = [f"Over {images} and every two learners: {'; '.join(found)}."] if found else []
    if alike.mean_scale_share is not None:
        own = ", ".join(f"{name} {share(each)}" for name, each in zip(alike.learners, alike.scale_shares, strict=True))
        sentences.append(
            f"Of the plain mean's squared log error {share(alike.mean_scale_share)} is the scale of the whole image "
            f"({own}), the rest lies within."
        )
    if alike.disagreement_share is not None:
        sentences.append(
            f"The learners' disagreement is {share(alike.disagreement_share)} of their mean squared log error: so much "
            "is gone where they are averaged in logs."
        )
    return [*sentences, f"The truth lies inside the learners' range at {share(alike.inside)} of the pixels."]


def likeness_table(alike: Likeness) -> Table:
    """A line for every two learners."""
    scales = {(first, second): value for first, second, value in pairs(alike, alike.scales)}
    lines = [
        Row.of(f"{first}, {second}", decimals(value), decimals(scales[first, second]))
        for first, second, value in pairs(alike, alike.within)
    ]
    return plain_table(("correlation (logs)", "errors within images", "scales of images"), lines)


def pairs(alike: Likeness, correlations: Correlations) -> Iterator[tuple[str, str, float | None]]:
    """Every two learners with their correlation."""
    for index, first in enumerate(alike.learners):
        for other in range(index + 1, len(alike.learners)):
            yield first, alike.learners[other], correlations[index][other]
