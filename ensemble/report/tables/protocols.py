"""The same rows scored under several published protocols, side by side."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from ensemble.evaluation.results.protocols import ProtocolComparison, ProtocolScores
from ensemble.evaluation.results.scores import TITLES, ScoreRow
from ensemble.metrics.kitti import SERVER_METRICS
from ensemble.metrics.published import OURS
from ensemble.report.tables.scores import SHOWN
from ensemble.report.wording import best_values, heading, is_best, number, protocol_entries, shown_rows
from ensemble.tables import Cell, Column, Table, plain_table, table_of
from ensemble.tables.markdown import markdown_table

COMPARED = {
    "crop": "none",
    "pixels": "in the depth range",
    "min depth": "-",
    "max depth": "-",
    "clip": "on",
    "averaging": "image",
    "relative to": "truth",
}
"""Rules that documents compare, and what stands for one that is not written down."""


def protocol_tables(comparison: ProtocolComparison) -> list[Table]:
    """One table per metric of ``SHOWN``, rows by protocols; what concerns all of them stands below the last."""
    return [
        _metric_table(comparison, metric, "\n".join(_footnotes(comparison)) if metric == SHOWN[-1] else "")
        for metric in SHOWN
    ]


def protocols_markdown(comparison: ProtocolComparison) -> str:
    """The same for a document, and what the protocols differ in."""
    names = list(comparison.protocols)
    text = "# The same predictions under published protocols\n"
    for metric in SHOWN:
        text += f"\n## {heading(metric)}\n\n{markdown_table(_metric_table(comparison, metric))}"
    if comparison.server:
        text += f"\n## The metrics of KITTI's server\n\n{markdown_table(_server_table(comparison))}"
    rules = {name: dict(protocol_entries(each.scores)) for name, each in comparison.protocols.items()}
    lines = [[rule, *(rules[name].get(rule, absent) for name in names)] for rule, absent in COMPARED.items()]
    lines.append(["images", *(str(each.scores.rows[0].images) for each in comparison.protocols.values())])
    text += f"\n## Rules as they were applied\n\n{markdown_table(plain_table(['', *names], lines))}\n"
    text += "\n".join(line.replace("*", "\\*") + "\n" for line in _footnotes(comparison))
    for name, each in comparison.protocols.items():
        if each.source:
            facts = [*each.departures, *([f"from memory: {each.remembered}"] if each.remembered else [])]
            text += f"\n**{name}** ({each.source})\n\n" + "".join(f"- {fact}\n" for fact in facts)
    return text


def _metric_table(comparison: ProtocolComparison, metric: str, caption: str = "") -> Table:
    scores = [each.scores for each in comparison.protocols.values()]
    best = [best_values(each.rows) for each in scores]

    def line(same: Sequence[ScoreRow]) -> list[str | Cell]:
        pairs = zip(same, best, strict=True)
        cells = [Cell(number(row.scores[metric]), is_best(row, metric, values)) for row, values in pairs]
        return [same[0].title, *cells]

    same_rows = zip(*(shown_rows(each, published=False) for each in scores), strict=True)
    grouped = groupby(same_rows, key=lambda same: TITLES[same[0].kind])
    headings = ("", *(_column(*each) for each in comparison.protocols.items()))
    return table_of(
        headings, ((title, map(line, rows)) for title, rows in grouped), title=heading(metric), caption=caption
    )


def _server_table(comparison: ProtocolComparison) -> Table:
    """Rows by metric, ranked by the first one there; whole frames and all measured pixels."""
    titles = {row.name: row.title for row in comparison.protocols[OURS].scores.rows}
    headings = [f"{each.label}{f', {each.unit}' if each.unit else ''} ↓" for each in SERVER_METRICS.values()]
    lines = [
        (title, *(f"{comparison.server[name][metric]:.2f}" for metric in SERVER_METRICS))
        for name, title in titles.items()
        if name in comparison.server
    ]
    return plain_table(["", *headings], lines)


def _column(name: str, found: ProtocolScores) -> Column:
    title = f"{name}*" if found.other_flip else name
    return Column(title, title.replace("depth", "- depth"))


def _footnotes(comparison: ProtocolComparison) -> list[str]:
    """What must stand below the tables: rows made otherwise than published, protocols that come to the same."""
    flipped = comparison.protocols[OURS].scores.protocol["flip_averaging"]
    here, there = ("with", "without") if flipped else ("without", "with")
    notes = []
    if any(each.other_flip for each in comparison.protocols.values()):
        notes.append(f"* published {there} flip averaging; the cached rows were made {here} it.")
    notes += [
        f"{', '.join(names)} score these rows by the same rules; what is published differs in how depth is predicted."
        for names in _alike(comparison.protocols)
    ]
    return notes


def _alike(protocols: Mapping[str, ProtocolScores]) -> list[Sequence[str]]:
    groups: dict[str, list[str]] = {}
    for name, each in protocols.items():
        groups.setdefault(repr(sorted(each.scores.protocol.items())), []).append(name)
    return [names for names in groups.values() if len(names) > 1]
