"""The table of scores, for the terminal and for documents."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from types import MappingProxyType

from ensemble.evaluation.results.comparisons import Comparisons, row_marks
from ensemble.evaluation.results.scores import TITLES, ScoreRow, Scores, headroom
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.report.sentences import MARKS
from ensemble.report.wording import (
    NO_WINNERS,
    best_values,
    caption,
    heading,
    is_best,
    millions,
    number,
    share,
    shown_rows,
)
from ensemble.tables import Cell, Column, Row, Table, table_of
from ensemble.tables.markdown import markdown_table

SHOWN = ("d1", "abs_rel", "rmse")
"""Metrics that stay where there is room for few."""

HEADROOM_METRICS = ("abs_rel", "rmse", "d1")
"""Of which documents tell the head-room; other tables have room for the first."""

ONE_ROOM = MappingProxyType({"head-room REL": "abs_rel"})


def score_table(
    scores: Scores,
    comparisons: Comparisons | None = None,
    *,
    published: bool = False,
    headroom_of: Mapping[str, str] = ONE_ROOM,
    parameters: str = "params M",
) -> Table:
    """The rows side by side, the best of each column marked as such, with marks of significance from ``comparisons``.

    ``headroom_of`` maps headings of columns of head-room to metrics; they are shown where there is a bound to measure
    by. ``parameters`` is the heading of the column of parameters; ``published`` adds the rows of the study below.
    """
    shares = {title: headroom(scores, metric) for title, metric in headroom_of.items()}
    if all(value is None for each in shares.values() for value in each.values()):
        shares = {}
    best = best_values(scores.rows)
    grouped = groupby(shown_rows(scores, published=published), key=lambda row: TITLES[row.kind])
    return table_of(
        (
            "",
            *(
                Column(
                    title := heading(metric),
                    title.replace("RMSElog", "RMSE log"),
                    marked=comparisons is not None,
                    priority=int(metric in SHOWN),
                )
                for metric in TABLE_METRICS
            ),
            *(Column(title, title.replace("-", "- ")) for title in shares),
            parameters,
        ),
        ((title, [_row(row, comparisons, best, shares.values()) for row in rows]) for title, rows in grouped),
        title=scores.experiment,
        caption=caption(scores, published=published),
    )


def score_document(scores: Scores, comparisons: Comparisons | None = None, *, published: bool = False) -> str:
    """The same in Markdown, with the head-room of more metrics."""
    rooms = {f"head-room {METRICS[metric].label}": metric for metric in HEADROOM_METRICS}
    table = score_table(scores, comparisons, published=published, headroom_of=rooms, parameters="parameters (M)")
    return markdown_table(table)


def _row(
    row: ScoreRow, comparisons: Comparisons | None, best: Mapping[str, str], rooms: Iterable[Mapping[str, float | None]]
) -> Row:
    return Row.of(
        row.title,
        *(_cell(row, metric, comparisons, best) for metric in TABLE_METRICS),
        *(share(each.get(row.name)) for each in rooms),
        millions(row.parameters),
        aside=row.kind if row.kind in NO_WINNERS else "",
        note="; ".join(filter(None, [row.note, f"{row.repeats} fits" if row.repeats > 1 else ""])),
        spread="" if row.deviations is None else f"± of {row.repeats} fits",
    )


def _cell(row: ScoreRow, metric: str, comparisons: Comparisons | None, best: Mapping[str, str]) -> Cell:
    marks = () if comparisons is None else row_marks(comparisons, row, metric)
    return Cell(
        number(row.scores[metric]),
        best=is_best(row, metric, best),
        spread="" if row.deviations is None else number(row.deviations[metric]),
        marks=tuple(MARKS[mark] for mark in marks),
    )
