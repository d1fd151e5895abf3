"""How numbers, rows and the protocol are written, the same in every format."""

from collections.abc import Mapping, Sequence

from ensemble import console
from ensemble.console import counted
from ensemble.evaluation.results.published import published_note, published_rows
from ensemble.evaluation.results.scores import TITLES, ScoreRow, Scores
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.metrics.statistics import Difference
from ensemble.tables.table import Tone

NO_WINNERS = ("bound", "published")
"""Kinds of rows that are never the best of a column."""


def shown_rows(scores: Scores, *, published: bool) -> list[ScoreRow]:
    """Rows in the order of their kinds, as given within a kind."""
    rows = [*scores.rows, *(published_rows(scores) if published else ())]
    return sorted(rows, key=lambda row: list(TITLES).index(row.kind))


def heading(metric: str) -> str:
    """Its label with an arrow towards better."""
    return f"{METRICS[metric].label} {'↑' if METRICS[metric].higher_is_better else '↓'}"


def number(value: float, *, signed: bool = False) -> str:
    """Four decimals without a leading zero, as studies print scores."""
    text = f"{abs(value):.4f}"
    text = text[1:] if text.startswith("0.") else text
    if not signed:
        return f"-{text}" if value < 0 and text.strip(".0") else text
    return text if not text.strip(".0") else f"{'+' if value > 0 else '-'}{text}"


def interval(low: float, high: float) -> str:
    """Both ends of an interval of differences."""
    return f"[{number(low, signed=True)}, {number(high, signed=True)}]"


def difference_cells(each: Difference) -> list[str]:
    """Difference, interval, corrected p-value, and what the first row is."""
    return [
        number(each.difference, signed=True),
        interval(each.low, each.high),
        probability(each.p_holm),
        verdict(each),
    ]


def verdict(each: Difference) -> str:
    """What the first row of a difference is, after the correction."""
    return tone_of(each) or "not significant"


def tone_of(each: Difference) -> Tone:
    """Whether it is good or bad news for the first row; neither where it may be chance."""
    return "better" if each.better == "first" else "worse" if each.better == "second" else ""


def share(value: float | None) -> str:
    """Whole percent; a dash for what does not exist."""
    return "-" if value is None else f"{round(100 * value) + 0.0:.0f} %"


def decimals(value: float | None) -> str:
    """Two decimals without a leading zero; a dash for what does not exist."""
    if value is None:
        return "-"
    text = f"{abs(value):.2f}".removeprefix("0")
    return f"-{text}" if value < 0 and text.strip(".0") else text


def probability(value: float) -> str:
    """A p-value as it is usually written."""
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def millions(parameters: int | None) -> str:
    """Parameters in millions; a dash where there are none."""
    return "-" if parameters is None else f"{parameters / 1e6:.2f}"


def duration(seconds: float | None) -> str:
    """Hours, minutes or seconds; a dash where nothing was trained."""
    return "-" if seconds is None else console.duration(seconds)


def best_values(rows: Sequence[ScoreRow]) -> dict[str, str]:
    """The best value of each column as it is shown, so that rows that look alike are marked alike."""
    candidates = [row for row in rows if row.kind not in NO_WINNERS]
    if not candidates:
        return {}
    values = {metric: [row.scores[metric] for row in candidates] for metric in TABLE_METRICS}
    return {metric: number((max if METRICS[metric].higher_is_better else min)(values[metric])) for metric in values}


def is_best(row: ScoreRow, metric: str, best: Mapping[str, str]) -> bool:
    """Whether a row's value is the best of its column."""
    return row.kind not in NO_WINNERS and best[metric] == number(row.scores[metric])


def caption(scores: Scores, *, published: bool) -> str:
    """Protocol, images and what else must be known to read the table."""
    ours = [row for row in scores.rows if row.kind != "published"]
    sentences = ["; ".join(f"{name}: {value}" for name, value in protocol_entries(scores))]
    if ours:
        sentences.append(counted(ours[0].images, "image"))
    if ours and ours[0].without_valid:
        sentences[-1] += f", {ours[0].without_valid} more left out for want of a valid pixel"
    clipped = [f"{row.title} {row.clipped_pixels:,}" for row in ours if row.clipped_pixels]
    if clipped:
        sentences.append(f"Pixels clipped into the depth range: {', '.join(clipped)}")
    if any(row.deviations for row in ours):
        sentences.append("± is the standard deviation over repeated fits")
    text = " ".join(f"{sentence}." for sentence in sentences if sentence)
    return f"{text} {published_note(scores)}" if published else text


def protocol_entries(scores: Scores) -> list[tuple[str, str]]:
    """Name and value of every entry of the protocol, in words."""
    return [
        (key.replace("_", " "), f"{_plain(value)}{' m' if key.endswith('_depth') else ''}")
        for key, value in scores.protocol.items()
    ]


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        between = "x" if len(value) == 2 and all(isinstance(part, int) for part in value) else ", "
        return between.join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
