"""The same rows scored under several published protocols: ``protocols.json``, ``protocols.md`` and the terminal."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ensemble.metrics.formulas import METRICS
from ensemble.metrics.published import OURS
from ensemble.report.scores import CHECKED, TITLES, Scores, first_mistake
from ensemble.report.tables import markdown_grid
from ensemble.report.wording import best_values, is_best, number, protocol_entries, shown_rows
from ensemble.runs.files import write_text

SCHEMA = 1
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


@checked_dataclass(frozen=True, config=CHECKED)
class ProtocolScores:
    """All rows under one protocol.

    Attributes:
        scores: The table, with the protocol as it was applied.
        source: Where the protocol is published; empty for ours.
        remembered: What of it is from memory and not read there.
        departures: In what these scores are made otherwise than there.
        other_flip: Whether it is published with flip averaging and these rows were made without, or the reverse.
    """

    scores: Scores
    source: str = ""
    remembered: str = ""
    departures: tuple[str, ...] = ()
    other_flip: bool = False


@checked_dataclass(frozen=True, config=CHECKED)
class ProtocolComparison:
    """The same cached rows under several protocols, ours first.

    Attributes:
        schema: Version of this layout.
        protocols: By name.
    """

    schema: int
    protocols: dict[str, ProtocolScores]

    def __post_init__(self) -> None:
        """Refuses protocols that were not applied to the same rows."""
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} found, {SCHEMA} expected; evaluate again")
        names = {name: [row.name for row in each.scores.rows] for name, each in self.protocols.items()}
        if OURS not in names or any(rows != names[OURS] for rows in names.values()):
            raise ValueError(f"expected the same rows under {OURS!r} and every other protocol, found {names}")


_COMPARISON = TypeAdapter(ProtocolComparison)


def protocols_json(comparison: ProtocolComparison) -> str:
    """The whole of it, indented, with a final newline."""
    return _COMPARISON.dump_json(comparison, indent=2).decode() + "\n"


def write_protocols(comparison: ProtocolComparison, path: Path) -> None:
    """Writes at once: a reader sees the old file or the new one."""
    write_text(path, protocols_json(comparison))


def read_protocols(path: Path) -> ProtocolComparison:
    """Reads what ``write_protocols`` wrote.

    Raises:
        ValueError: The file is not such a file; the message names it and what is wrong.
    """
    try:
        return _COMPARISON.validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise ValueError(f"{path}: {first_mistake(error)}. Evaluate again to rewrite it.") from error


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
