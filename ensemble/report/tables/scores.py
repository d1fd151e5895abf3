"""The table of scores for the terminal and for documents (Markdown)."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rich import box
from rich.table import Table
from rich.text import Text

from ensemble.evaluation.results.scores import TITLES, ScoreRow, Scores, headroom
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.report.wording import best_values, caption, headings, is_best, millions, number, share, shown_rows

HEADROOM_METRICS = ("abs_rel", "rmse", "d1")
"""Of which documents tell the head-room; the terminal has room for the first."""


def score_table(scores: Scores, *, published: bool = False) -> Table:
    """The rows side by side for a terminal of 80 columns or more, the best of each column bold.

    Args:
        scores: What to show.
        published: Add the rows of the published study below.
    """
    table = Table(
        title=Text(scores.experiment, style="bold italic"),
        box=box.HORIZONTALS,
        padding=0,
        pad_edge=False,
        caption=Text(caption(scores, published=published), style="dim"),
        caption_justify="left",
    )
    table.add_column("")
    room = _headroom_shown(scores, HEADROOM_METRICS[:1])
    columns = [heading.replace("RMSElog", "RMSE\nlog").replace(" ", "\n") for heading in headings()]
    for heading in (*columns, *(["head-\nroom\nREL"] if room else []), "params\nM"):
        table.add_column(heading, justify="right", no_wrap=True)
    best = best_values(scores.rows)
    for title, rows in groupby(shown_rows(scores, published=published), key=lambda row: TITLES[row.kind]):
        table.add_row(Text(title, style="italic dim"))
        for row in rows:
            cells = [
                Text(number(row.scores[metric]), style="bold" if is_best(row, metric, best) else "")
                for metric in TABLE_METRICS
            ]
            rooms = [Text(share(shares.get(row.name))) for shares in room.values()]
            table.add_row(Text(f" {row.title}"), *cells, *rooms, Text(millions(row.parameters)))
            if row.deviations is not None:
                spread = [Text(number(row.deviations[metric])) for metric in TABLE_METRICS]
                table.add_row(Text(f"   ± of {row.repeats} fits"), *spread, style="dim")
        table.add_section()
    return table


def markdown_table(
    scores: Scores, *, published: bool = False, marks: Mapping[tuple[str, str], str] | None = None
) -> str:
    """The same as ``score_table`` for a document.

    Args:
        scores: What to show.
        published: Add the rows of the published study below.
        marks: (row, metric) -> what stands behind its value, such as a mark of significance.
    """
    room = _headroom_shown(scores, HEADROOM_METRICS)
    rooms = [f"head-room {label}" for label in room]
    lines = []
    best = best_values(scores.rows)
    for row in shown_rows(scores, published=published):
        cells = [_markdown_cell(row, metric, best, marks or {}) for metric in TABLE_METRICS]
        label = f"{row.title} ({row.kind})" if row.kind in ("bound", "published") else row.title
        lines.append(
            [label, *cells, *(share(shares.get(row.name)) for shares in room.values()), millions(row.parameters)]
        )
    table = markdown_grid(["", *headings(), *rooms, "parameters (M)"], lines)
    return f"{table}\n{caption(scores, published=published)}\n"


def markdown_grid(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column on the left, the others on the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "".join(f"{_markdown_line(line)}\n" for line in (header, rule, *lines))


def _headroom_shown(scores: Scores, metrics: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """By label of the metric, shares by row; empty where there is no bound to measure them by."""
    found = {METRICS[metric].label: headroom(scores, metric) for metric in metrics}
    return found if any(value is not None for shares in found.values() for value in shares.values()) else {}


def _markdown_cell(row: ScoreRow, metric: str, best: Mapping[str, str], marks: Mapping[tuple[str, str], str]) -> str:
    value = number(row.scores[metric])
    cell = f"**{value}**" if is_best(row, metric, best) else value
    if row.deviations is not None:
        cell += f" ± {number(row.deviations[metric])}"
    mark = marks.get((row.name, metric))
    return f"{cell} {mark}" if mark else cell


def _markdown_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
