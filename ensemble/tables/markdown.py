"""A table in Markdown, as GitHub reads it: titles of sections become asides of names, marks stand behind values."""

import re
from collections.abc import Iterable

from ensemble.tables.table import Cell, Row, Table

_SPECIAL = re.compile(r"[\\|]|<(?=[A-Za-z/!?])|&(?=#?\w+;)")
"""What would end a cell, vanish, or begin a tag or an entity."""

_RULES = {"left": "---", "right": "---:"}


def markdown_table(table: Table) -> str:
    """The grid, and the caption below it."""
    lines = [
        [column.heading for column in table.columns],
        [_RULES[column.align] for column in table.columns],
        *(_cells(row) for row in table.rows),
    ]
    grid = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{grid}\n{table.caption}\n" if table.caption else grid


def _cells(row: Row) -> Iterable[str]:
    name, *values = map(_cell, row.cells)
    return (f"{name} ({row.aside})" if row.aside else name, *values)


def _cell(cell: Cell) -> str:
    value = _escaped(cell.text)
    parts = [f"**{value}**" if cell.best else value]
    if cell.spread:
        parts.append(f"± {cell.spread}")
    return " ".join([*parts, *(mark.symbol for mark in cell.marks)])


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
