"""How a camera maps points to pixels, and how that changes when its frame is resized, cropped or mirrored.

Columns and rows count from 0, and a whole number is the centre of a pixel: a frame w pixels wide reaches from -0.5 to
w - 0.5. Resizing keeps these two edges, as ``ensemble.data.transforms`` does.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera, in pixels of one frame.

    Focal lengths are in widths and heights of a pixel; ``cx`` and ``cy`` are where the optical axis meets the frame.
    """

    fx: float
    fy: float
    cx: float
    cy: float

    @property
    def focal(self) -> float:
        """One focal length for both directions; theirs differ where a frame was squeezed."""
        return math.sqrt(self.fx * self.fy)

    def project(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 2"]:
        """Column and row of points that lie x to the right, y below and z before the camera, in metres."""
        x, y, z = np.moveaxis(points, -1, 0)
        return np.stack([self.fx * x / z + self.cx, self.fy * y / z + self.cy], axis=-1)

    def axis_share(self, size: tuple[int, int]) -> Float[np.ndarray, "h w"]:
        """Depth along the axis, for every metre of distance to the centre of the camera, of each pixel of its frame."""
        height, width = size
        x, y = (np.arange(width) - self.cx) / self.fx, (np.arange(height) - self.cy) / self.fy
        return 1 / np.sqrt(1 + y[:, None] ** 2 + x**2)

    def axis_within(self, size: tuple[int, int]) -> bool:
        """Whether the optical axis meets a frame of this height and width."""
        height, width = size
        return -0.5 <= self.cx <= width - 0.5 and -0.5 <= self.cy <= height - 0.5

    def resized(self, old: tuple[int, int], new: tuple[int, int]) -> "Intrinsics":
        """Of the frame brought from one height and width to another."""
        down, across = new[0] / old[0], new[1] / old[1]
        middle = (self.cx + 0.5) * across - 0.5, (self.cy + 0.5) * down - 0.5
        return Intrinsics(self.fx * across, self.fy * down, *middle)

    def cropped(self, top: int, left: int) -> "Intrinsics":
        """Of a part of the frame that begins at this row and column."""
        return replace(self, cx=self.cx - left, cy=self.cy - top)

    def mirrored(self, width: int) -> "Intrinsics":
        """Of the mirrored frame of this width, for points whose x changed its sign as well."""
        return replace(self, cx=width - 1 - self.cx)
