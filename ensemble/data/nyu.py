"""Copies of NYU Depth v2 on disk as a source of frames."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ensemble.config import DataSettings
from ensemble.data.image_files import read_depth_mm, read_rgb
from ensemble.data.nyu_files import Pair, list_pairs
from ensemble.data.source import Frame, RawFrame, fingerprint

_MILLIMETRES = np.float32(1000)


@dataclass(frozen=True)
class NyuSource:
    """The frames of one copy: BTS ``sync/`` with its list files, or ``official_splits/``.

    Attributes:
        root: Folder of the copy.
        pairs: Every frame with its files, sorted as listed.
    """

    root: Path
    pairs: tuple[Pair, ...] = field(repr=False)
    name: str = "nyu"

    @classmethod
    def open(cls, root: Path) -> "NyuSource":
        """Lists the frames of the copy in ``root``.

        Raises:
            ValueError: The folder is missing or holds no copy that can be read.
        """
        if not root.is_dir():
            raise ValueError(f"{root}: no such folder; expected a copy of NYU Depth v2, set data.root or NYU_ROOT")
        return cls(root, list_pairs(root))

    @classmethod
    def from_settings(cls, settings: DataSettings) -> "NyuSource":
        """The copy in ``data.root``, or in the folder that the environment names.

        Raises:
            ValueError: Neither is set, or there is no copy there.
        """
        root = settings.root or os.environ.get("NYU_ROOT")
        if not root:
            raise ValueError(
                "data.kind=nyu: expected the folder of a copy of NYU Depth v2 in data.root (--root DIR) "
                "or in the environment variable NYU_ROOT, found neither"
            )
        return cls.open(Path(root))

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Every frame of both splits."""
        return tuple(self._by_frame)

    def read(self, frame: Frame) -> RawFrame:
        """Image and depth of a frame; pixels without a measurement are not valid.

        Raises:
            ValueError: A file is damaged, not what it should be, or the two differ in size.
        """
        pair = self._pair(frame)
        image, depth_mm = read_rgb(pair.rgb), read_depth_mm(pair.depth)
        if image.shape[:2] != depth_mm.shape:
            raise ValueError(
                f"{pair.depth}: expected the size of its image, {image.shape[0]}x{image.shape[1]}, "
                f"found {depth_mm.shape[0]}x{depth_mm.shape[1]}; take both from the same copy"
            )
        return RawFrame(image, depth_mm / _MILLIMETRES, depth_mm > 0)

    def read_image(self, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
        """The image alone.

        Raises:
            ValueError: The file is damaged or not RGB.
        """
        return read_rgb(self._pair(frame).rgb)

    def describe(self, frames: Sequence[Frame]) -> str:
        """Fingerprint of ids, splits and file sizes: a replaced file is noticed without reading it."""
        lines = [f"{self.name} 1"]
        for frame in frames:
            pair = self._pair(frame)
            sizes = (path.stat().st_size for path in (pair.rgb, pair.depth))
            lines.append(" ".join((frame.split, frame.id, *map(str, sizes))))
        return fingerprint(lines)

    @cached_property
    def _by_frame(self) -> dict[Frame, Pair]:
        return {pair.frame: pair for pair in self.pairs}

    def _pair(self, frame: Frame) -> Pair:
        try:
            return self._by_frame[frame]
        except KeyError as error:
            raise ValueError(f"{self.root}: has no {frame.split} frame {frame.id}") from error
