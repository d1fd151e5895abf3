"""A square of numbers of every two, as SVG that takes the colours of its page."""

from collections.abc import Sequence

from markupsafe import Markup, escape

from ensemble.report.drawing.charts import WIDTH, Chart
from ensemble.report.wording import decimals

NAMES, TOP = 96.0, 18.0
LARGEST, NARROWEST = 46.0, 22.0
"""Width of a cell at most, and at least where its number is to stand in it."""

FAINTEST, STRONGEST = 0.06, 0.6
"""Opacity at 0 and at 1 or -1; ink must be read on it."""

Square = Sequence[Sequence[float | None]]


def matrix_chart(title: str, names: Sequence[str], below: Square, above: Square) -> Chart:
    """Two symmetric squares of numbers between -1 and 1 in one, below and above the diagonal.

    Rows carry names, columns their numbers. A number that does not exist is a dash.
    """
    side = min(LARGEST, (WIDTH - NAMES) / max(1, len(names)))
    parts = []
    for row, name in enumerate(names):
        middle = TOP + (row + 0.5) * side + 3.5
        label = f"{row + 1} {name}"
        parts.append(Markup("<text x='{:.1f}' y='{:.1f}' class='y'>{}</text>").format(NAMES - 6, middle, label))
        place = NAMES + (row + 0.5) * side
        parts.append(Markup("<text x='{:.1f}' y='{:.1f}' class='x'>{}</text>").format(place, TOP - 6, row + 1))
        parts += [_cell(row, column, below[row][column], side) for column in range(row)]
        parts += [_cell(row, column, above[row][column], side) for column in range(row + 1, len(names))]
    height = TOP + len(names) * side + 2
    described = escape(f"{title}: {', '.join(names)}")
    svg = Markup("<svg viewBox='0 0 {:g} {:.1f}' role='img' aria-label='{}'>{}</svg>").format(
        WIDTH, height, described, Markup("").join(parts)
    )
    return Chart(title, svg, ())


def _cell(row: int, column: int, value: float | None, side: float) -> Markup:
    x, y = NAMES + column * side, TOP + row * side
    opacity = FAINTEST + (STRONGEST - FAINTEST) * min(1.0, abs(value or 0.0))
    sign = " below" if value is not None and value < 0 else ""
    box = Markup("<rect class='cell{}' x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill-opacity='{:.2f}'/>")
    found = box.format(sign, x + 1, y + 1, side - 2, side - 2, opacity)
    if side < NARROWEST:
        return found
    text = Markup("<text class='inside' x='{:.1f}' y='{:.1f}'>{}</text>")
    return found + text.format(x + side / 2, y + side / 2 + 3.5, decimals(value))
