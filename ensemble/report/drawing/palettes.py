"""Scales of colour as tables, for films and pages: a thousand steps look the same, and take no time."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from PIL import Image, ImageDraw, ImageFont

STEPS = 1024

_MARGIN = 4
"""Columns that stay free beside the first and the last label of a scale."""

_DECIMALS = 3
"""Most of a label: metres to the millimetre."""


class Label(NamedTuple):
    """What is written below a scale, from a column to another."""

    text: str
    left: int
    right: int


@dataclass(frozen=True)
class Palette:
    """Values to colours by a table, clipped to its ends; what is not finite has the colour of the low end.

    Attributes:
        table: RGB.
        low: Value of its first colour.
        high: Value of its last one.
        logs: Whether equal ratios, rather than equal differences, are equally far apart.
    """

    table: UInt8[np.ndarray, "1024 3"]
    low: float
    high: float
    logs: bool

    @classmethod
    def of(cls, scale: ScalarMappable) -> Palette:
        """Of a scale with two ends."""
        low, high = float(scale.norm.vmin), float(scale.norm.vmax)  # pyright: ignore[reportArgumentType]
        logs = isinstance(scale.norm, LogNorm)
        values = np.geomspace(low, high, STEPS) if logs else np.linspace(low, high, STEPS)
        return cls(scale.to_rgba(values, bytes=True)[:, :3], low, high, logs)

    def __call__(self, values: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
        """The colour of every value."""
        low, high = np.log([self.low, self.high]) if self.logs else (self.low, self.high)
        logs = np.log(np.maximum(values, np.float32(1e-6))) if self.logs else values
        steps = (logs - np.float32(low)) * np.float32((STEPS - 1) / (high - low))
        return self.table.take(np.fmin(np.fmax(steps, 0), STEPS - 1).astype(np.int16), axis=0, mode="clip")

    def bar(self, width: int, height: int, unit: str) -> UInt8[np.ndarray, "height width 3"]:
        """The scale lying, with its ends and up to three values between them written below, as many as there is room.

        Without room for two it is colours alone.
        """
        values = self._values(width)
        labels = self.labels(width, height, unit)
        pixels = np.full((height, width, 3), 20, dtype=np.uint8)
        pixels[: height // 3 if labels else height] = self(values[None])
        picture = Image.fromarray(pixels)
        draw, font = ImageDraw.Draw(picture), _font(height)
        for label in labels:
            draw.text((label.left, height - max(2, height // 7)), label.text, "white", font, "ls")
        return np.asarray(picture)

    def labels(self, width: int, height: int, unit: str) -> list[Label]:
        """What stands below a lying scale, from left to right: five, three, two or none, with the same decimals."""
        values, font = self._values(width), _font(height)
        for count in (5, 3, 2):
            places = [number * (width - 1) // (count - 1) for number in range(count)]
            shown = values[places]
            # Three digits of the largest value, more where neighbours would read the same.
            decimals = max(0, 2 - math.floor(math.log10(max(abs(shown[-1]), 1e-9))))
            while decimals < _DECIMALS and len({f"{value:.{decimals}f}" for value in shown}) < count:
                decimals += 1
            found = []
            for place, value in zip(places, shown, strict=True):
                text = f"{value:.{decimals}f}" + (f" {unit}" if place == places[-1] else "")
                long = math.ceil(font.getlength(text))
                left = min(max(place - long // 2, _MARGIN), width - _MARGIN - long)
                found.append(Label(text, left, left + long))
            apart = font.getlength("0")
            if found[0].left >= _MARGIN and all(
                now.left - before.right >= apart for before, now in itertools.pairwise(found)
            ):
                return found
        return []

    def _values(self, width: int) -> Float[np.ndarray, " w"]:
        return np.geomspace(self.low, self.high, width) if self.logs else np.linspace(self.low, self.high, width)


def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(8, round(height * 0.5)))
