"""Scores of the published study, to stand beside ours."""

from collections.abc import Iterable

from ensemble.evaluation.results.scores import ScoreRow, Scores
from ensemble.metrics.formulas import TABLE_METRICS
from ensemble.metrics.kitti import KITTI_CROPS
from ensemble.metrics.study import STUDIED, TITLES

_PUBLISHED_COMBINERS = (
    # name, title, parameters, d1, d2, d3, REL, SqREL, RMSE, RMSElog, log10
    ("mean", "plain mean", None, 0.8564, 0.9758, 0.9948, 0.1216, 0.0739, 0.4261, 0.1537, 0.0518),
    ("simultaneous", "stack, all at once", 4_266_246, 0.8538, 0.9727, 0.9935, 0.1199, 0.0741, 0.4340, 0.1553, 0.0521),
    ("rgb-tuned", "stack rgb, fine-tuned", 4_266_246, 0.8581, 0.9746, 0.9944, 0.1210, 0.0733, 0.4274, 0.1540, 0.0517),
    ("rgb", "stack rgb, frozen", 4_266_246, 0.8578, 0.9748, 0.9944, 0.1195, 0.0727, 0.4290, 0.1538, 0.0516),
    ("d", "stack d", 4_266_246, 0.8590, 0.9745, 0.9941, 0.1189, 0.0728, 0.4267, 0.1535, 0.0514),
    ("rgb+d", "stack rgb+d", 4_266_678, 0.8595, 0.9748, 0.9944, 0.1193, 0.0724, 0.4267, 0.1533, 0.0514),
)  # fmt: skip


def _published(name: str, title: str, parameters: int | None, scores: Iterable[float]) -> ScoreRow:
    return ScoreRow(
        name=f"published-{name}",
        kind="published",
        title=title,
        parameters=parameters,
        scores=dict(zip(TABLE_METRICS, scores, strict=True)),
        images=654,
        without_valid=0,
        clipped_pixels=0,
    )


PUBLISHED = (
    *(_published(name, TITLES[name], row.parameters, row.scores.values()) for name, row in STUDIED.items()),
    *(_published(name, title, parameters, scores) for name, title, parameters, *scores in _PUBLISHED_COMBINERS),
)
"""The published study, parameters recounted from the rebuilt networks (it printed 17.2M for AdaBins)."""


def published_rows(scores: Scores) -> tuple[ScoreRow, ...]:
    """The study's rows, beside scores of frames indoors; it has none of KITTI."""
    return () if outdoors(scores) else PUBLISHED


def published_note(scores: Scores) -> str:
    """What must be known of the published rows."""
    return OUTDOOR_NOTE if outdoors(scores) else PUBLISHED_NOTE


def outdoors(scores: Scores) -> bool:
    """Whether scores are made on a crop of KITTI's frames."""
    return scores.protocol.get("crop") in KITTI_CROPS


OUTDOOR_NOTE = (
    "No published rows: the study scored NYU Depth v2 alone. docs/protocols.md has published rows of KITTI, each with "
    "its protocol."
)

PUBLISHED_NOTE = (
    "Published rows: another protocol and data size (24,231 training and 654 test images of NYU Depth v2, GhostNet "
    "learners, one run, no error bars); they are no match for the rows above."
)
