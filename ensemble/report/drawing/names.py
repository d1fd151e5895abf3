"""Names beside points of a diagram: where they lie on no point, line, bar or other name."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

REACH = (10, 18, 28, 40, 54, 70, 90, 115)
"""Points between a name and what it names, tried in turn."""

_DIRECTIONS = 16
_WITHOUT_LINE = 18
"""A name farther away than so many points has a thin line to what it names."""

_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
_CLEAR = 2.0
"""Pixels that stay free around a name."""


@dataclass(frozen=True)
class Name:
    """What is written beside a point.

    Attributes:
        text: To write.
        point: In units of the data.
        colour: Of the text.
    """

    text: str
    point: tuple[float, float]
    colour: str = "black"


def write_names(
    axes: Axes,
    names: Sequence[Name],
    *,
    points: Sequence[tuple[float, float]],
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]],
) -> list[Annotation]:
    """Write names of points where there is room for them, each as near to its own as may be.

    Limits and scales of the axes must stay as they are afterwards.

    Args:
        axes: With all that names must not lie on.
        names: To write, the most important one first.
        points: Centres of markers, in units of the data.
        lines: Ends of straight lines along an axis, likewise: error bars and steps.
    """
    figure = axes.figure
    canvas = FigureCanvasAgg(figure.figure)  # pyright: ignore[reportArgumentType]
    canvas.draw()  # only then is it known where anything lies
    scale = figure.dpi / 72
    taken = [_box(axes, each, each, 5 * scale) for each in points]
    taken += [_box(axes, *ends, scale) for ends in lines]
    if (legend := axes.get_legend()) is not None:
        taken.append(legend.get_window_extent())
    written = []
    for name in names:
        annotation = axes.annotate(
            name.text, name.point, xytext=(0, 0), textcoords="offset points", fontsize=8, ha="center", va="center",
            color=name.colour, bbox=_BOX, zorder=4,
            arrowprops={"arrowstyle": "-", "color": name.colour, "lw": 0.5, "alpha": 0.6, "shrinkA": 0, "shrinkB": 4},
        )  # fmt: skip
        annotation.set_in_layout(False)
        extent = annotation.get_window_extent(canvas.get_renderer())
        size = annotation.get_bbox_patch().get_window_extent(canvas.get_renderer())  # pyright: ignore
        offset, box = _free(axes, name.point, size if size.width >= extent.width else extent, taken, scale)
        annotation.xyann = offset
        if annotation.arrow_patch is not None and math.hypot(*offset) - size.width / 2 / scale < _WITHOUT_LINE:
            annotation.arrow_patch.set_visible(False)
        taken.append(box)
        written.append(annotation)
    return written


def _free(
    axes: Axes, point: tuple[float, float], size: Bbox, taken: Sequence[Bbox], scale: float
) -> tuple[tuple[float, float], Bbox]:
    """The offset in points, and the box in pixels, of a name that overlaps least; the nearest of equal ones."""
    x, y = axes.transData.transform(point)
    best: tuple[float, tuple[float, float], Bbox] | None = None
    for reach in REACH:
        for step in range(_DIRECTIONS):
            angle = math.tau * (step + 2) / _DIRECTIONS  # to the upper right first
            across = math.cos(angle) * (reach + size.width / 2 / scale)
            up = math.sin(angle) * (reach + size.height / 2 / scale)
            middle = x + across * scale, y + up * scale
            half = size.width / 2 + _CLEAR, size.height / 2 + _CLEAR
            box = Bbox.from_extents(middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1])
            inside = Bbox.intersection(box, axes.bbox)
            outside = _area(box) - (0.0 if inside is None else _area(inside))
            hidden = sum(_area(each) for other in taken if (each := Bbox.intersection(box, other)) is not None)
            lost = outside + hidden + (0.0 if not any(box.overlaps(other) for other in taken) else 1e-6)
            if best is None or lost < best[0]:
                best = lost, (across, up), box
        if best is not None and best[0] < 1e-9:
            break
    return best[1], best[2]  # pyright: ignore[reportOptionalSubscript] (there are directions to try)


def _area(box: Bbox) -> float:
    return abs(box.width * box.height)


def _box(axes: Axes, first: tuple[float, float], last: tuple[float, float], around: float) -> Bbox:
    """The box of pixels around a line between two places."""
    box = Bbox(axes.transData.transform([first, last]))
    return Bbox.from_extents(box.xmin - around, box.ymin - around, box.xmax + around, box.ymax + around)
