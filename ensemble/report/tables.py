"""Tables for the terminal and for documents (Markdown)."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rich import box
from rich.table import Table
from rich.text import Text

from ensemble.metrics import METRICS
from ensemble.report.published import PUBLISHED, PUBLISHED_NOTE
from ensemble.report.scores import TABLE_METRICS, TITLES, ScoreRow, Scores


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
        caption=Text(_caption(scores, published=published), style="dim"),
        caption_justify="left",
    )
    table.add_column("")
    for heading in (*(heading.replace(" ", "\n") for heading in _headings()), "params\nM"):
        table.add_column(heading, justify="right", no_wrap=True)
    best = _best(scores.rows)
    shown = _shown(scores, published=published)
    for title, rows in groupby(shown, key=lambda row: TITLES[row.kind]):
        table.add_row(Text(title, style="italic dim"))
        for row in rows:
            cells = [Text(cell, style="bold" if bold else "") for cell, bold in _cells(row, best)]
            table.add_row(Text(f" {row.title}"), *cells, Text(_millions(row.parameters)))
        table.add_section()
    return table


def markdown_table(scores: Scores, *, published: bool = False) -> str:
    """The same as ``score_table`` for a document."""
    headings = ["", *_headings(), "parameters (M)"]
    lines = [_markdown_line(headings), _markdown_line(["---", *["---:"] * (len(headings) - 1)])]
    best = _best(scores.rows)
    for row in _shown(scores, published=published):
        cells = [f"**{cell}**" if bold else cell for cell, bold in _cells(row, best)]
        label = f"{row.title} ({row.kind})" if row.kind in ("bound", "published") else row.title
        lines.append(_markdown_line([label, *cells, _millions(row.parameters)]))
    return "\n".join([*lines, "", _caption(scores, published=published), ""])


def _shown(scores: Scores, *, published: bool) -> list[ScoreRow]:
    """Rows in the order of their kinds, as given within a kind."""
    rows = [*scores.rows, *(PUBLISHED if published else ())]
    return sorted(rows, key=lambda row: list(TITLES).index(row.kind))


def _headings() -> list[str]:
    """Labels with an arrow towards better."""
    table = [METRICS[metric] for metric in TABLE_METRICS]
    return [f"{metric.label} {'↑' if metric.higher_is_better else '↓'}" for metric in table]


def _shown_value(value: float) -> str:
    text = f"{value:.4f}"
    return text[1:] if text.startswith("0.") else text


def _millions(parameters: int | None) -> str:
    return "-" if parameters is None else f"{parameters / 1e6:.2f}"


def _best(rows: Sequence[ScoreRow]) -> dict[str, str]:
    """The best value of each column as it is shown, so that rows that look alike are marked alike."""
    candidates = [row for row in rows if row.kind not in ("bound", "published")]
    if not candidates:
        return {}
    values = {metric: [row.scores[metric] for row in candidates] for metric in TABLE_METRICS}
    return {
        metric: _shown_value((max if METRICS[metric].higher_is_better else min)(values[metric])) for metric in values
    }


def _cells(row: ScoreRow, best: Mapping[str, str]) -> list[tuple[str, bool]]:
    may_win = row.kind not in ("bound", "published")
    shown = [(metric, _shown_value(row.scores[metric])) for metric in TABLE_METRICS]
    return [(text, may_win and best[metric] == text) for metric, text in shown]


def _caption(scores: Scores, *, published: bool) -> str:
    ours = [row for row in scores.rows if row.kind != "published"]
    parts = [
        f"{key.replace('_', ' ')}: {_plain(value)}{' m' if key.endswith('_depth') else ''}"
        for key, value in scores.protocol.items()
    ]
    sentences = ["; ".join(parts)]
    if ours:
        sentences.append(f"{ours[0].images} images")
    if ours and ours[0].without_valid:
        sentences[-1] += f", {ours[0].without_valid} more left out for want of a valid pixel"
    clipped = [f"{row.title} {row.clipped_pixels:,}" for row in ours if row.clipped_pixels]
    if clipped:
        sentences.append(f"Pixels clipped into the depth range: {', '.join(clipped)}")
    caption = " ".join(f"{sentence}." for sentence in sentences if sentence)
    return f"{caption} {PUBLISHED_NOTE}" if published else caption


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        between = "x" if len(value) == 2 and all(isinstance(part, int) for part in value) else ", "
        return between.join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _markdown_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
