"""Scales of colour as tables, for films and pages: a thousand steps look the same, and take no time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from PIL import Image, ImageDraw, ImageFont

STEPS = 1024


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
    def of(cls, scale: ScalarMappable) -> "Palette":
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
        """The scale lying, with both ends and three values between them written below it."""
        values = np.geomspace(self.low, self.high, width) if self.logs else np.linspace(self.low, self.high, width)
        pixels = np.full((height, width, 3), 20, dtype=np.uint8)
        pixels[: height // 3] = self(values[None])
        picture = Image.fromarray(pixels)
        draw, font = ImageDraw.Draw(picture), ImageFont.load_default(max(8, round(height * 0.5)))
        for number, anchor in enumerate(("ls", "ms", "ms", "ms", "rs")):
            place = number * (width - 1) // 4
            text = f"{values[place]:.3g}" + (f" {unit}" if number == 4 else "")
            draw.text((place + (4, 0, 0, 0, -4)[number], height - 4), text, "white", font, anchor)
        return np.asarray(picture)
