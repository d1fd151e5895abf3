"""What an evaluation found: its files, its tables, and the report that ``python -m ensemble.report`` makes of them."""

from ensemble.report.published import PUBLISHED, PUBLISHED_NOTE
from ensemble.report.scores import (
    METRIC_NAMES,
    SCHEMA,
    TABLE_METRICS,
    TITLES,
    ImageScore,
    Kind,
    ScoreRow,
    Scores,
    read_per_image,
    read_scores,
    scores_json,
    write_per_image,
    write_scores,
)
from ensemble.report.tables import markdown_table, score_table

__all__ = [
    "METRIC_NAMES",
    "PUBLISHED",
    "PUBLISHED_NOTE",
    "SCHEMA",
    "TABLE_METRICS",
    "TITLES",
    "ImageScore",
    "Kind",
    "ScoreRow",
    "Scores",
    "markdown_table",
    "read_per_image",
    "read_scores",
    "score_table",
    "scores_json",
    "write_per_image",
    "write_scores",
]
