"""What stands in a table, whatever it is written to. The first column names the rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "better", "worse", "quiet"]
"""How a row or a cell is coloured."""


@dataclass(frozen=True)
class Column:
    """What stands above cells."""

    heading: str
    breakable: str = ""  # the same with a space wherever a terminal may begin a new line, if there are more such places
    align: Literal["left", "right"] = "right"  # where its cells stand
    marked: bool = False  # whether cells may carry marks or spreads, so that writers leave room for them
    priority: int = 0  # a narrow terminal leaves out the lowest first, among equal ones the right-most


@dataclass(frozen=True)
class Mark:
    """A sign behind a value, and what it says."""

    symbol: str
    words: str


@dataclass(frozen=True)
class Cell:
    """A value as it is shown, whether it is the best of its column, its deviation over repeats, marks behind it."""

    text: str
    best: bool = False
    spread: str = ""
    marks: tuple[Mark, ...] = ()
    tone: Tone = ""


@dataclass(frozen=True)
class Row:
    """Cells of every column."""

    cells: tuple[Cell, ...]  # the name first
    aside: str = ""  # stands behind the name where titles of sections are not shown
    note: str = ""  # of the name, where there is room for it
    spread: str = ""  # names the line of spreads below, where these get one of their own
    tone: Tone = ""  # of all cells

    @classmethod
    def of(cls, *values: str | Cell, aside: str = "", note: str = "", spread: str = "", tone: Tone = "") -> "Row":
        """A row of cells, of which some are text and nothing else."""
        cells = tuple(value if isinstance(value, Cell) else Cell(value) for value in values)
        return cls(cells, aside, note, spread, tone)


@dataclass(frozen=True)
class Section:
    """Rows that belong together; a rule divides them from others."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """Columns, that of the names first; sections; what stands above; what must be known to read it."""

    columns: tuple[Column, ...]
    sections: tuple[Section, ...]
    title: str = ""
    caption: str = ""

    def __post_init__(self) -> None:
        """Refuses rows with more or fewer cells than there are columns."""
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"row {row.cells[:1]}: {len(row.cells)} cells under {len(self.columns)} columns")

    @property
    def rows(self) -> tuple[Row, ...]:
        """Of all sections."""
        return tuple(row for section in self.sections for row in section.rows)


Lines = Iterable[Row | Sequence[str | Cell]]


def table_of(
    headings: Iterable[str | Column], groups: Iterable[tuple[str, Lines]], *, title: str = "", caption: str = ""
) -> Table:
    """A table of sections with titles; of headings that are only text the first one stands on the left."""
    columns = (
        each if isinstance(each, Column) else Column(each, align="right" if index else "left")
        for index, each in enumerate(headings)
    )
    sections = (
        Section(name, tuple(line if isinstance(line, Row) else Row.of(*line) for line in lines))
        for name, lines in groups
    )
    return Table(tuple(columns), tuple(sections), title, caption)


def plain_table(headings: Iterable[str | Column], lines: Lines, *, title: str = "", caption: str = "") -> Table:
    """A table of one section without a title."""
    return table_of(headings, [("", lines)], title=title, caption=caption)


def records(columns: Sequence[str], lines: Iterable[Mapping[str, object]]) -> Table:
    """Values by name of their column, to the last digit; what does not exist stays empty."""
    texts = ([line.get(column) for column in columns] for line in lines)
    return plain_table(columns, (["" if value is None else str(value) for value in values] for values in texts))
