"""The same rows scored under several published protocols: ``protocols.json``, ``protocols.md`` and the terminal."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ensemble.evaluation.results.protocols import ProtocolComparison, ProtocolScores
from ensemble.evaluation.results.scores import TITLES
from ensemble.metrics.formulas import METRICS
from ensemble.metrics.published import OURS
from ensemble.report.tables import markdown_grid
from ensemble.report.wording import best_values, is_best, number, protocol_entries, shown_rows

SHOWN = ("d1", "abs_rel", "rmse")
"""Metrics that are put side by side; the JSON holds all of them."""

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


def protocols_table(comparison: ProtocolComparison) -> Group:
    """One table per metric, rows by protocols, for a terminal of 80 columns."""
    notes = [Text(line, style="dim") for line in _footnotes(comparison)]
    return Group(*(_metric_table(comparison, metric) for metric in SHOWN), *notes)


def protocols_markdown(comparison: ProtocolComparison) -> str:
    """The same for a document, and what the protocols differ in."""
    names = list(comparison.protocols)
    header = [_heading(name, comparison) for name in names]
    text = "# The same predictions under published protocols\n"
    for metric in SHOWN:
        lines = [
            [title, *(f"**{value}**" if best else value for value, best in cells)]
            for _, title, cells in _lines(comparison, metric)
        ]
        text += f"\n## {_label(metric)}\n\n{markdown_grid(['', *header], lines)}"
    rules = {name: dict(protocol_entries(each.scores)) for name, each in comparison.protocols.items()}
    lines = [[rule, *(rules[name].get(rule, absent) for name in names)] for rule, absent in COMPARED.items()]
    lines.append(["images", *(str(each.scores.rows[0].images) for each in comparison.protocols.values())])
    text += f"\n## Rules as they were applied\n\n{markdown_grid(['', *names], lines)}\n"
    text += "\n".join(line.replace("*", "\\*") + "\n" for line in _footnotes(comparison))
    for name, each in comparison.protocols.items():
        if each.source:
            facts = [*each.departures, *([f"from memory: {each.remembered}"] if each.remembered else [])]
            text += f"\n**{name}** ({each.source})\n\n" + "".join(f"- {fact}\n" for fact in facts)
    return text


def _metric_table(comparison: ProtocolComparison, metric: str) -> Table:
    table = Table(
        title=Text(_label(metric), style="bold italic"), box=box.HORIZONTALS, padding=(0, 1, 0, 0), pad_edge=False
    )
    table.add_column("")
    for name in comparison.protocols:
        table.add_column(_heading(name, comparison).replace("depth", "-\ndepth"), justify="right", no_wrap=True)
    for kind, lines in groupby(_lines(comparison, metric), key=lambda line: line[0]):
        table.add_row(Text(kind, style="italic dim"))
        for _, title, cells in lines:
            table.add_row(Text(f" {title}"), *(Text(value, style="bold" if best else "") for value, best in cells))
        table.add_section()
    return table


def _lines(comparison: ProtocolComparison, metric: str) -> list[tuple[str, str, list[tuple[str, bool]]]]:
    """Of every row the heading of its kind, its title, and under each protocol the value and whether it is the best."""
    scores = [each.scores for each in comparison.protocols.values()]
    rows = [shown_rows(each, published=False) for each in scores]
    best = [best_values(each.rows) for each in scores]
    return [
        (
            TITLES[same[0].kind],
            same[0].title,
            [
                (number(row.scores[metric]), is_best(row, metric, values))
                for row, values in zip(same, best, strict=True)
            ],
        )
        for same in zip(*rows, strict=True)
    ]


def _label(metric: str) -> str:
    return f"{METRICS[metric].label} {'↑' if METRICS[metric].higher_is_better else '↓'}"


def _heading(name: str, comparison: ProtocolComparison) -> str:
    return f"{name}*" if comparison.protocols[name].other_flip else name


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
