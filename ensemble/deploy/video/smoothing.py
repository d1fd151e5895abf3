"""Depth that flickers less from frame to frame, and nothing that no frame said: pure functions of arrays.

The running depth of a pixel follows the frames' own by an exponential average in logs, since errors of depth are
relative. It starts anew where the picture was cut, and in every pixel that has become so much nearer or farther that
something else is seen there: between two surfaces there is none.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

LARGEST_STEP = 1.15
"""How many times as far, either way, a pixel's depth may be as before to count as the same surface."""

THUMBNAIL = (18, 32)
LEAST_CHANGE, CHANGE_OF_CUTS = 0.05, 3.0
"""A cut changes a thumbnail by at least this share of white on average, and by so many times the change of the frames
before it. A fast pan may count as a cut as well, which costs one frame of smoothing."""

CHANGES_KEPT = 0.8
"""Share of the running mean of changes that stays from frame to frame."""


@dataclass
class Smoothing:
    """Depth of frames in their order, smoothed.

    Attributes:
        seconds: Time constant of the average.
        cuts: Found so far.
    """

    seconds: float
    cuts: int = 0
    _depth: Float32[np.ndarray, "h w"] | None = None
    _seen: Float32[np.ndarray, "18 32 3"] | None = None
    _time: float = 0.0
    _change: float = 0.0

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], depth: Float32[np.ndarray, "h w"], time: float
    ) -> Float32[np.ndarray, "h w"]:
        """The depth to show of a frame that is seen at a time in seconds."""
        seen = thumbnail(image)
        before, self._seen = self._seen, seen
        if before is None or self._depth is None:
            self._depth = depth
        elif is_cut(before, seen, usual=self._change):
            self.cuts += 1
            self._depth, self._change = depth, 0.0
        else:
            self._change = CHANGES_KEPT * self._change + (1 - CHANGES_KEPT) * change(before, seen)
            share = 1 - math.exp(-max(0.0, time - self._time) / self.seconds)
            self._depth = following(self._depth, depth, share)
        self._time = time
        return self._depth


def following(
    running: Float32[np.ndarray, "h w"], depth: Float32[np.ndarray, "h w"], share: float
) -> Float32[np.ndarray, "h w"]:
    """The running depth moved by a share of the way to a frame's own, in logs; its own where it is another surface.

    What comes out lies between both, and nowhere more than ``LARGEST_STEP`` from the frame's own.
    """
    apart = np.log(depth / running)
    moved = running * np.exp(np.float32(share) * apart)
    return np.where(np.abs(apart) <= math.log(LARGEST_STEP), moved, depth)


def thumbnail(image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "18 32 3"]:
    """Means of the blocks of an image, from 0 to 1; an image smaller than a thumbnail is repeated up to it."""
    rows, columns = (-(-most // side) for most, side in zip(THUMBNAIL, image.shape[:2], strict=True))
    image = image.repeat(rows, axis=0).repeat(columns, axis=1)
    high, wide = (side // most for side, most in zip(image.shape[:2], THUMBNAIL, strict=True))
    blocks = image[: high * THUMBNAIL[0], : wide * THUMBNAIL[1]]
    step_down, step_across = max(1, high // 8), max(1, wide // 8)  # 64 pixels of a block say enough
    blocks = blocks.reshape(THUMBNAIL[0], high, THUMBNAIL[1], wide, 3)[:, ::step_down, :, ::step_across]
    return blocks.mean(axis=(1, 3), dtype=np.float32) / 255


def change(before: Float32[np.ndarray, "18 32 3"], now: Float32[np.ndarray, "18 32 3"]) -> float:
    """Mean absolute difference of two thumbnails, as a share of white."""
    return float(np.abs(now - before).mean())


def is_cut(before: Float32[np.ndarray, "18 32 3"], now: Float32[np.ndarray, "18 32 3"], *, usual: float = 0.0) -> bool:
    """Whether another picture begins between two frames, where frames before them changed by ``usual`` on average."""
    return change(before, now) > max(LEAST_CHANGE, CHANGE_OF_CUTS * usual)
