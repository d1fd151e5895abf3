"""Parts that every figure is drawn with; matplotlib's object interface only, so there is no global state."""

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from ensemble.report.drawing.colours import Rgb
from ensemble.runs.seals import write_sealed

DPI = 150
DEPTH_TICKS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 60, 80)


def draw_panel(figure: Figure, box: tuple[float, float, float, float], panel: Rgb) -> Axes:
    """A picture without ticks or frame in ``box`` (left, bottom, width, height as fractions of the figure)."""
    axes = figure.add_axes(box)
    axes.imshow(panel, aspect="auto", interpolation="antialiased", interpolation_stage="rgba")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return axes


def draw_colour_bar(figure: Figure, axes: Axes, scale: ScalarMappable, unit: str) -> None:
    """The scale of a kind of panel, with arrows where values may lie beyond it."""
    low, high = scale.get_clim()
    bar = figure.colorbar(scale, cax=axes, orientation="horizontal", extend="max" if low == 0 else "both")
    if isinstance(scale.norm, LogNorm):
        ticks = [tick for tick in DEPTH_TICKS if low <= tick <= high]
        bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        bar.minorticks_off()
    else:
        bar.locator = MaxNLocator(5)
        bar.formatter = StrMethodFormatter("{x:g}")
    bar.set_label(unit, fontsize=7, labelpad=2)
    bar.ax.tick_params(labelsize=7, length=2, pad=2)
    bar.outline.set_linewidth(0.4)  # pyright: ignore[reportCallIssue]


def weight_unit(learners: int) -> str:
    """What stands below the colour bar of weights."""
    return f"weight (white: 1/{learners}, as in the plain mean)"


def write_figure(figure: Figure, path: Path) -> None:
    """Renders a PNG, all of it or nothing."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    write_sealed(path, buffer.getvalue(), beside=False)
