"""Accuracy over time: what recipes that make networks smaller leave of d1, and what they save."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from ensemble.report.drawing.figures import write_figure
from ensemble.report.drawing.names import Name, write_names

SIZE = (8.0, 4.8)
"""Inches."""

STYLES: dict[str, dict[str, Any]] = {
    "onnx": {"color": "tab:blue", "marker": "o", "label": "ONNX Runtime"},
    "openvino": {"color": "tab:orange", "marker": "D", "label": "OpenVINO"},
}


class CompressionPoint(NamedTuple):
    """One recipe.

    Attributes:
        name: Of the recipe.
        runtime: Key of ``STYLES``.
        milliseconds: Of one image.
        d1: Mean over images.
        interval: Ends of the 95 % interval of its difference from ``fp32``, from that difference.
    """

    name: str
    runtime: str
    milliseconds: float
    d1: float
    interval: tuple[float, float] | None


def draw_compression(path: Path, points: Sequence[CompressionPoint], title: str) -> None:
    """d1 over milliseconds, with 95 % intervals of the difference from ``fp32``, which is a line (PNG)."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    for runtime, style in STYLES.items():
        own = [point for point in points if point.runtime == runtime]
        if own:
            bars = [[-(p.interval or (0, 0))[0] for p in own], [(p.interval or (0, 0))[1] for p in own]]
            across, up = [p.milliseconds for p in own], [p.d1 for p in own]
            axes.errorbar(across, up, yerr=bars, linestyle="none", elinewidth=1, capsize=3, markersize=6, **style)
    axes.axhline(points[0].d1, color="0.8", lw=0.8, zorder=0)
    axes.margins(x=0.14)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("milliseconds an image, one CPU thread")
    axes.set_ylabel("d1 on validation frames (higher is better)")
    axes.legend(frameon=False, fontsize=8)
    places = [(point.milliseconds, point.d1) for point in points]
    bars = [
        ((x, y + low), (x, y + high))
        for (x, y), p in zip(places, points, strict=True)
        for low, high in [p.interval or (0.0, 0.0)]
    ]
    names = [Name(point.name, place) for point, place in zip(points, places, strict=True)]
    write_names(axes, names, points=places, lines=bars)
    write_figure(figure, path)
