"""Pictures of depth, weights and errors, drawn from arrays; nothing here shows a window or keeps global state."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8, UInt16
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image

from ensemble.report.drawing.colours import (
    Rgb,
    depth_colours,
    depth_limits,
    depth_scale,
    error_colours,
    error_scale,
    weight_colours,
    weight_scale,
    weight_spread,
)
from ensemble.report.drawing.figures import DPI, draw_colour_bar, draw_panel, weight_unit, write_figure
from ensemble.runs.files import write_bytes
from ensemble.settings.units import PER_METRE

LARGEST_STEPS = 65535
_STRIP = 64
"""Rows of a map that are rounded at a time."""

UNITS = ("mm", "kitti")
"""Of 16-bit PNGs, by their names in ``ensemble.settings.units``: the first that reaches as far as the depth."""


def save_depth_png(place: Path, depth: Float[np.ndarray, "h w"]) -> Path:
    """``PLACE_depth_mm.png``, 16 bits of whole millimetres, or ``PLACE_depth_kitti.png``, of 1/256 m, beyond 65.535 m.

    The one of an earlier depth is removed, in any case.

    Raises:
        ValueError: A depth that neither can hold: negative, not finite or above 255.996 m.
    """
    largest = float(np.nanmax(depth, initial=0))
    unit = next((unit for unit in UNITS if largest * PER_METRE[unit] < LARGEST_STEPS + 0.5), UNITS[-1])
    paths = {each: place.with_name(f"{place.name}_depth_{each}.png") for each in UNITS}
    for old in paths.values():
        old.unlink(missing_ok=True)
    path = paths[unit]
    buffer = io.BytesIO()
    Image.fromarray(_steps(depth, PER_METRE[unit], path)).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
    return path


def draw_prediction(
    place: Path,
    image: UInt8[np.ndarray, "h w 3"],
    depth: Float[np.ndarray, "h w"],
    weights: Float[np.ndarray, "k h w"],
    learners: Sequence[str],
    error: Float[np.ndarray, "h w"] | None,
) -> tuple[Path, ...]:
    """``PLACE_depth_colour.png`` (image, depth and its scale) and ``PLACE_weights.png`` (a panel per learner).

    With the expected error in metres ``PLACE_error_colour.png`` as well; of one learner alone no weights.

    Raises:
        ValueError: Other learners than named.
    """
    if len(learners) != len(weights):
        raise ValueError(f"{place.name}: found {len(weights)} weight maps for the learners {', '.join(learners)}")
    colour, maps, doubt = (
        place.with_name(f"{place.name}_{kind}.png") for kind in ("depth_colour", "weights", "error_colour")
    )
    near, far = depth_limits(depth)
    scale = depth_scale(near, far)
    _write_panels(colour, (image, depth_colours(depth, near, far)), ("image", "depth"), scale, "metres", bar_from=1)
    drawn = [colour]
    if len(learners) > 1:
        spread = weight_spread(weights)
        panels = tuple(weight_colours(weight, len(learners), spread) for weight in weights)
        titles = tuple(
            f"{learner}, mean {weight.mean():.2f}" for learner, weight in zip(learners, weights, strict=True)
        )
        _write_panels(maps, panels, titles, weight_scale(len(learners), spread), weight_unit(len(learners)))
        drawn.append(maps)
    if error is not None:
        largest = max(float(np.quantile(error, 0.99)), 1e-3)
        shown = error_colours(error, np.zeros_like(error), np.isfinite(error), largest=largest)
        _write_panels(doubt, (image, shown), ("image", "expected error"), error_scale(largest), "metres", bar_from=1)
        drawn.append(doubt)
    return tuple(drawn)


def learning_rate_curve(path: Path, rates: Sequence[float], losses: Sequence[float], suggestion: float | None) -> None:
    """The loss of a learning-rate range test over the rate, and the rate that it suggests.

    Losses that are not finite are left out; the axis ends a little above where the losses started.

    Raises:
        ValueError: Not as many rates as losses, or no finite loss.
    """
    rate, loss = np.asarray(rates, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    finite = np.isfinite(loss)
    if rate.shape != loss.shape or not finite.any():
        raise ValueError(f"range test: found {rate.size} rates and {finite.sum()} finite of {loss.size} losses")
    figure = Figure(figsize=(6, 3.6), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.semilogx(rate[finite], loss[finite], color="0.2", linewidth=1.4)
    low = loss[finite].min()
    high = loss[finite][: int(loss[finite].argmin()) + 1].max()
    margin = 0.15 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + 2 * margin)
    if suggestion is not None:
        axes.axvline(suggestion, color="C3", linewidth=1.4)
        left_half = suggestion < np.sqrt(rate.min() * rate.max())
        axes.annotate(
            f"suggested: {suggestion:.2e}",
            (suggestion, 0.96),
            xycoords=("data", "axes fraction"),
            xytext=(5 if left_half else -5, 0),
            textcoords="offset points",
            ha="left" if left_half else "right",
            va="top",
            color="C3",
            fontsize=9,
        )
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(which="major", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    write_figure(figure, path)


def _write_panels(
    path: Path, panels: Sequence[Rgb], titles: Sequence[str], scale: ScalarMappable, unit: str, *, bar_from: int = 0
) -> None:
    """Panels side by side with one colour bar below those that it belongs to."""
    aspect = panels[0].shape[0] / panels[0].shape[1]
    panel, gap, top, bottom, margin = 3.2, 0.08, 0.32, 0.62, 0.1
    width = 2 * margin + len(panels) * (panel + gap) - gap
    height = top + panel * aspect + bottom
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    lefts = [margin + index * (panel + gap) for index in range(len(panels))]
    for left, picture, title in zip(lefts, panels, titles, strict=True):
        box = (left / width, bottom / height, panel / width, panel * aspect / height)
        draw_panel(figure, box, picture).set_title(title, fontsize=10, pad=4)
    start, end = lefts[bar_from], lefts[-1] + panel
    long = min(end - start, 1.5 * panel)
    axes = figure.add_axes(((start + end - long) / 2 / width, (bottom - 0.22) / height, long / width, 0.12 / height))
    draw_colour_bar(figure, axes, scale, unit)
    write_figure(figure, path)


def _steps(depth: Float[np.ndarray, "h w"], per_metre: float, path: Path) -> UInt16[np.ndarray, "h w"]:
    rounded, beyond = np.empty(depth.shape, np.uint16), []
    for first in range(0, len(depth), _STRIP):  # numbers of 64 bits take four times the memory of what is written
        strip = depth[first : first + _STRIP]
        steps = np.rint(strip.astype(np.float64) * per_metre)
        fits = (steps >= 0) & (steps <= LARGEST_STEPS)
        beyond.append(strip[~fits])
        rounded[first : first + _STRIP] = np.where(fits, steps, 0)
    if sum(map(len, beyond)):
        wrong = np.concatenate(beyond)
        raise ValueError(
            f"{path}: {len(wrong)} of {depth.size} depths cannot be 16 bits (first: {wrong[0]} m), expected "
            f"0 .. {LARGEST_STEPS / per_metre:.3f} m; save the metres as .npy instead"
        )
    return rounded
