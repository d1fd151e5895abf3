"""Line charts as SVG that stand in a page and take its colours, in the light and in the dark."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 340.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 10.0, 10.0, 40.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    label: str  # what the legend says
    parts: tuple[tuple[Point, ...], ...]  # points in order; where a part ends the line is interrupted
    style: int  # number of its colour and dashes

    @property
    def points(self) -> Iterable[Point]:
        """All points of all parts."""
        return (point for part in self.parts for point in part)


@dataclass(frozen=True)
class Chart:
    """A drawn chart and what belongs around it."""

    title: str  # stands above it
    svg: Markup
    lines: tuple[Line, ...]
    note: str = ""  # stands below it


def line_chart(
    title: str, lines: Sequence[Line], *, x_label: str, y_label: str, note: str = "", dots: bool = False
) -> Chart:
    """Lines over axes that begin at 0 where nothing is below it, with a dot at every point where asked for.

    The title names the drawing for who cannot see it; a chart without points is empty.
    """
    x_axis, y_axis = (_Axis.of([point[index] for line in lines for point in line.points]) for index in (0, 1))
    right, lower = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [Markup("<g class='grid'>")]
    for tick in y_axis.ticks:
        y = lower - y_axis.share(tick) * (lower - TOP)
        parts.append(Markup("<path d='M{:.1f} {:.1f}H{:.1f}'/>").format(LEFT, y, right))
        parts.append(Markup("<text x='{:.1f}' y='{:.1f}' class='y'>{}</text>").format(LEFT - 5, y + 3.5, f"{tick:g}"))
    for tick in x_axis.ticks:
        x = LEFT + x_axis.share(tick) * (right - LEFT)
        parts.append(Markup("<text x='{:.1f}' y='{:.1f}' class='x'>{}</text>").format(x, lower + 14, f"{tick:g}"))
    parts.append(Markup("</g>"))
    for line in lines:
        for points in line.parts:
            placed = [
                (LEFT + x_axis.share(x) * (right - LEFT), lower - y_axis.share(y) * (lower - TOP)) for x, y in points
            ]
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
            parts.append(Markup("<path class='line s{}' d='M{}'/>").format(line.style, path))
            circles = "".join(
                f"<circle class='dot s{line.style}' cx='{x:.1f}' cy='{y:.1f}' r='2.2'/>" for x, y in placed
            )
            parts.append(Markup(circles if dots else ""))  # numbers of our own only
    middle = (LEFT + right) / 2
    parts.append(Markup("<text class='x' x='{:.1f}' y='{:.1f}'>{}</text>").format(middle, HEIGHT - 8, x_label))
    turned = "<text class='x' transform='translate(11 {:.1f}) rotate(-90)'>{}</text>"
    parts.append(Markup(turned).format((TOP + lower) / 2, y_label))
    described = escape(f"{title}: {', '.join(line.label for line in lines)}")
    svg = Markup("<svg viewBox='0 0 {:g} {:g}' role='img' aria-label='{}'>{}</svg>").format(
        WIDTH, HEIGHT, described, Markup("").join(parts)
    )
    return Chart(title, svg, tuple(lines), note)


def steps(edges: Sequence[float], values: Sequence[float | None]) -> tuple[tuple[Point, ...], ...]:
    """A value per range as a line of steps, interrupted where there is no value."""
    parts: list[list[Point]] = [[]]
    for left, right, value in zip(edges[:-1], edges[1:], values, strict=True):
        if value is None:
            parts.append([])
        else:
            parts[-1] += [(left, value), (right, value)]
    return tuple(tuple(part) for part in parts if part)


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "_Axis":
        from matplotlib.ticker import MaxNLocator

        low, high = min(0.0, *values, 0.0), max(*values, 0.0, 0.0)
        high = high if high > low else low + 1.0
        found = MaxNLocator(5).tick_values(low, high)
        ticks = tuple(round(float(tick), 12) for tick in found if low - 1e-12 <= tick <= high * (1 + 1e-12))
        return cls(low, high, ticks)

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)
