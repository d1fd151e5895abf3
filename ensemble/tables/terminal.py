"""A table in a terminal of any width: columns that do not fit are left out and named, the names of rows stay."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import rich.table
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

from ensemble.tables.table import Cell, Column, Table

STYLES = {"": "", "better": "green", "worse": "red", "quiet": "dim"}

WAYS = ((False, 2, False), (True, 2, False), (True, 1, False), (True, 2, True), (True, 1, True))
"""From the roomiest to the tightest: headings over several lines, letters between columns, names of rows broken."""

LEAST_NAME = 14
"""Letters that names of rows are broken down to; their longest word gets up to half of the terminal."""


@dataclass(frozen=True)
class TerminalTable:
    """A table that takes the width of the console it is printed on."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, its caption, and which columns are missing."""
        width, columns = options.max_width, self.table.columns
        drawn, shown = _fitted(self.table, width, console)
        yield drawn
        if self.table.caption:
            yield Text(self.table.caption, style="dim")
        if missing := [column.heading for index, column in enumerate(columns) if index not in shown]:
            told = f"columns left out at {width} columns: {', '.join(missing)}; wider terminal or --json shows all"
            yield Text(told, style="dim")


def _fitted(table: Table, width: int, console: Console) -> tuple[rich.table.Table, Sequence[int]]:
    """The roomiest way to show the most columns, and which these are."""
    endless = console.options.update(max_width=10_000)
    words = (word for row in table.rows for word in row.cells[0].text.split())
    least = max(LEAST_NAME, min(width // 2, 1 + max(map(cell_len, words), default=0)))
    shown = list(range(len(table.columns)))
    while True:
        for stacked, gap, broken in WAYS:
            drawn = _drawn(table, shown, stacked=stacked, gap=gap)
            drawn.columns[0].max_width = least if broken else None
            if Measurement.get(console, endless, drawn).maximum <= width or len(shown) == 1:
                drawn.columns[0].max_width = None
                return drawn, shown
        shown.remove(min(shown[1:], key=lambda index: (table.columns[index].priority, -index)))


def _drawn(table: Table, shown: Sequence[int], *, stacked: bool, gap: int) -> rich.table.Table:
    title = Text(table.title, style="bold italic") if table.title else None
    drawn = rich.table.Table(title=title, box=box.HORIZONTALS, padding=(0, gap - 1, 0, 0), pad_edge=False)
    for index in shown:
        column = table.columns[index]
        heading = _stacked(column, [row.cells[index] for row in table.rows]) if stacked else column.heading
        drawn.add_column(Text(heading), justify=column.align, no_wrap=index > 0, overflow="fold")
    for section in table.sections:
        indent = " " if section.title else ""
        if section.title:
            drawn.add_row(Text(section.title), style="italic dim")
        for row in section.rows:
            cells = [Text(indent + row.cells[0].text), *map(_text, row.cells[1:])]
            drawn.add_row(*(cells[index] for index in shown), style=STYLES[row.tone])
            if row.spread:
                spreads = [f"{indent}  {row.spread}", *(cell.spread for cell in row.cells[1:])]
                drawn.add_row(*(Text(spreads[index]) for index in shown), style="dim")
        drawn.add_section()
    return drawn


def _stacked(column: Column, cells: Sequence[Cell]) -> str:
    """The heading in lines that are no longer than cells, or than its longest word."""
    text = column.breakable or column.heading
    width = max(1, *map(len, text.split()), *(_text(cell).cell_len for cell in cells))
    return textwrap.fill(text, width, break_on_hyphens=False)


def _text(cell: Cell) -> Text:
    marks = "".join(f" {mark.symbol}" for mark in cell.marks)
    return Text(cell.text + marks, style="bold" if cell.best else STYLES[cell.tone])
