"""The picture grid: what every learner sees in a frame, whom the stack trusts where, and what is left wrong."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from ensemble.evaluation.results.gallery import GridRow
from ensemble.report.drawing.colours import (
    depth_colours,
    depth_limits,
    depth_scale,
    error_colours,
    error_scale,
    thickened,
    weight_colours,
    weight_scale,
    weight_spread,
)
from ensemble.report.drawing.figures import DPI, draw_colour_bar, draw_panel, weight_unit, write_figure


def relative_error(row: GridRow, predicted: Float[np.ndarray, "h w"]) -> float:
    """REL over the valid pixels of this row, at its size; NaN where none is valid."""
    if not row.valid.any():
        return float("nan")
    truth = row.truth[row.valid].astype(np.float64)
    return float(np.mean(np.abs(predicted[row.valid] - truth) / truth))


def picture_grid(rows: Sequence[GridRow], path: Path, learners: Sequence[str]) -> None:
    """One line of panels per frame: image, truth, learners, weights, stack, errors of plain mean and stack.

    All panels of a kind share one colour scale, drawn below them. Learners are named in the order of ``depths``.

    Raises:
        ValueError: No row, rows of several sizes, or other learners than named.
    """
    _check_rows(rows, learners)
    aspect = rows[0].truth.shape[0] / rows[0].truth.shape[1]
    names = max(2, *(len(_broken(row.frame)) for row in rows))
    layout = _GridLayout(len(rows), len(learners), aspect, panel=WIDE if aspect < 0.5 else USUAL, names=names)
    near, far = _depth_range(rows)
    spread, largest = weight_spread(np.stack([row.weights for row in rows], axis=1)), _largest_error(rows)
    figure = Figure(figsize=(layout.width, layout.height), dpi=DPI, facecolor="white")
    for line, row in enumerate(rows):
        layout.label(figure, line, row, learners)
        truth, known = thickened(row.truth, row.valid)
        panels = [
            row.image,
            depth_colours(truth, near, far, valid=known),
            *(depth_colours(depth, near, far) for depth in row.depths),
            depth_colours(row.stack, near, far),
            *(weight_colours(weight, len(learners), spread) for weight in row.weights),
            *(error_colours(depth, truth, known, largest=largest) for depth in (row.mean, row.stack)),
        ]
        for column, (panel, title) in enumerate(zip(panels, _titles(learners), strict=True)):
            axes = draw_panel(figure, layout.box(line, column), panel)
            if line == 0:
                axes.set_title(title, fontsize=8, pad=3)
    weight, error = 3 + len(learners), 3 + 2 * len(learners)
    layout.group(figure, 1, weight - 1, "depth", depth_scale(near, far), "metres")
    layout.group(figure, weight, error - 1, "weights", weight_scale(len(learners), spread), weight_unit(len(learners)))
    layout.group(figure, error, error + 1, "absolute error", error_scale(largest), "metres")
    write_figure(figure, path)


USUAL, WIDE = 1.35, 2.0
"""Inches across a panel; of frames as wide as those of a car's camera."""

LETTERS = 20
"""Of a frame's id that stand in a line beside its panels."""


@dataclass(frozen=True)
class _GridLayout:
    """Where everything stands in a picture grid, in inches from the top left."""

    lines: int
    learners: int
    aspect: float
    panel: float = USUAL
    names: int = 2  # lines of the longest id
    gap: float = 0.04
    group_gap: float = 0.16
    label_width: float = 1.15
    top: float = 0.4
    bottom: float = 0.58
    margin: float = 0.08

    @property
    def columns(self) -> int:
        return 5 + 2 * self.learners

    @property
    def line_height(self) -> float:
        """A panel, or the text beside it where that is higher."""
        return max(self.panel * self.aspect, 0.105 * (self.learners + 4 + self.names))

    @property
    def width(self) -> float:
        return self.left(self.columns - 1) + self.panel + self.margin

    @property
    def height(self) -> float:
        return self.top + self.lines * (self.line_height + self.gap) + self.bottom

    def left(self, column: int) -> float:
        groups = sum(column >= first for first in (1, 3 + self.learners, 3 + 2 * self.learners))
        return self.margin + self.label_width + column * (self.panel + self.gap) + groups * self.group_gap

    def box(self, line: int, column: int) -> tuple[float, float, float, float]:
        height = self.panel * self.aspect
        upper = self.top + line * (self.line_height + self.gap)
        return self.fractions(self.left(column), upper, self.panel, height)

    def fractions(self, left: float, upper: float, width: float, height: float) -> tuple[float, float, float, float]:
        bottom = self.height - upper - height
        return left / self.width, bottom / self.height, width / self.width, height / self.height

    def label(self, figure: Figure, line: int, row: GridRow, learners: Sequence[str]) -> None:
        """Frame id and REL of everything that predicts, left of the panels."""
        left, right = self.margin / self.width, (self.margin + self.label_width - 0.1) / self.width
        upper = self.top + line * (self.line_height + self.gap)
        predictions = [*zip(learners, row.depths, strict=True), ("plain mean", row.mean), ("stack", row.stack)]
        texts = [(part, "") for part in _broken(row.frame)]
        texts += [
            ("", "REL"),
            *((_short(name, 14), f"{relative_error(row, depth):.3f}") for name, depth in predictions),
        ]
        for index, (name, value) in enumerate(texts):
            height = 1 - (upper + 0.08 + 0.105 * index) / self.height
            bold = "bold" if not value else "normal"
            figure.text(left, height, name, fontsize=6.5, va="baseline", fontweight=bold)
            figure.text(right, height, value, fontsize=6.5, va="baseline", ha="right")

    def group(self, figure: Figure, first: int, last: int, heading: str, scale: ScalarMappable, unit: str) -> None:
        """A heading above the columns ``first`` to ``last`` and their colour bar below."""
        left, right = self.left(first), self.left(last) + self.panel
        middle = (left + right) / 2
        figure.text(
            middle / self.width, 1 - 0.06 / self.height, heading, fontsize=9, fontweight="bold", ha="center", va="top"
        )
        width = min(right - left, 2.7)
        upper = self.top + self.lines * (self.line_height + self.gap) + 0.06
        axes = figure.add_axes(self.fractions(middle - width / 2, upper, width, 0.09))
        draw_colour_bar(figure, axes, scale, unit)


def _titles(learners: Sequence[str]) -> list[str]:
    return ["image", "truth", *map(_short, learners), "stack", *map(_short, learners), "plain mean", "stack"]


def _short(name: str, letters: int = 18) -> str:
    """A name that fits over a panel."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def _broken(frame: str) -> list[str]:
    """A frame id on one line per folder, or on more where one is long, after an underscore where there is one."""
    lines = []
    for part in re.findall(r"[^/]+/?", frame) or [frame]:
        line = ""
        for piece in re.findall(rf"[^_]{{1,{LETTERS - 1}}}_?|_", part):
            if line and len(line) + len(piece) > LETTERS:
                lines.append(line)
                line = ""
            line += piece
        lines.append(line)
    return lines


def _check_rows(rows: Sequence[GridRow], learners: Sequence[str]) -> None:
    if not rows:
        raise ValueError("picture grid: found no frame, expected at least one")
    size = rows[0].truth.shape
    for row in rows:
        counts = len(row.depths), len(row.weights)
        if counts != (len(learners), len(learners)):
            raise ValueError(
                f"picture grid: frame {row.frame} has {counts[0]} depths and {counts[1]} weight maps "
                f"for the learners {', '.join(learners)}"
            )
        parts = (row.image[..., 0], row.truth, row.valid, row.depths[0], row.weights[0], row.stack)
        if any(part.shape != size for part in parts):
            raise ValueError(f"picture grid: frame {row.frame} differs in size from {size[0]}x{size[1]} somewhere")


def _depth_range(rows: Sequence[GridRow]) -> tuple[float, float]:
    """From the nearest to the farthest truth of all frames, outliers aside; of the stacks where no truth is known."""
    depths = np.concatenate([row.truth[row.valid] for row in rows])
    if depths.size == 0:
        depths = np.concatenate([row.stack.ravel() for row in rows])
    return depth_limits(depths)


def _largest_error(rows: Sequence[GridRow]) -> float:
    """The error that 95 % of the valid pixels stay below, at least 5 cm."""
    errors = [np.abs(depth - row.truth)[row.valid] for row in rows for depth in (row.mean, row.stack)]
    together = np.concatenate(errors)
    return max(0.05, float(np.percentile(together, 95))) if together.size else 1.0
