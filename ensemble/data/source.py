"""What a source of frames promises, and the frame as it comes from there: no resizing, no augmentation, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from ensemble.data.intrinsics import Intrinsics
from ensemble.metrics.kitti import Window

Split = Literal["train", "validation", "test"]
Place = TypeVar("Place")
"""What a source reads a frame from: files, a slot of a shard."""


@dataclass(frozen=True)
class Frame:
    """One image with depth, named but not read.

    Attributes:
        id: Unique within its split, such as ``group_031/rgb_00412`` or ``room_0003/0001``.
        scene: The place it was taken in; splits never cut a scene.
        split: The side of the source's own split that it stands on.
    """

    id: str
    scene: str
    split: Split


@dataclass(frozen=True)
class RawFrame:
    """One image with depth at its original size.

    Attributes:
        depth: Metres along the optical axis; anything where ``valid`` is false.
        valid: Pixels that have a measurement.
        intrinsics: Of the camera, in pixels of this frame; ``None`` where they are not known.
        window: Where it was cut out of a larger frame, whose size decides what published protocols score; ``None`` for
            a whole one.

    Raises:
        ValueError: The maps are not what the types say or differ in size.
    """

    image: UInt8[np.ndarray, "h w 3"]
    depth: Float32[np.ndarray, "h w"]
    valid: Bool[np.ndarray, "h w"]
    intrinsics: Intrinsics | None = None
    window: Window | None = None

    def __post_init__(self) -> None:
        size = self.image.shape[:2]
        expected = (("image", (*size, 3), np.uint8), ("depth", size, np.float32), ("valid", size, np.bool_))
        for name, shape, dtype in expected:
            found = getattr(self, name)
            if found.shape != shape or found.dtype != dtype:
                raise ValueError(
                    f"{name} of a frame: expected {np.dtype(dtype)} of shape {shape}, "
                    f"found {found.dtype} of shape {found.shape}"
                )


@runtime_checkable
class FrameSource(Protocol):
    """Frames that can be listed and read; can be pickled, because loader workers get a copy, and holds nothing open."""

    @property
    def name(self) -> str:
        """Key in ``SOURCES``."""
        ...

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Every frame of all splits."""
        ...

    def read(self, frame: Frame) -> RawFrame:
        """Image and depth of a frame."""
        ...

    def read_image(self, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
        """The image alone, for work that must not or need not see the depth."""
        ...

    def describe(self, frames: Sequence[Frame]) -> str:
        """Fingerprint of these frames in this order; it changes with their names and with what tells their content.

        For files that is their size: a file that was replaced by another one of the same size is not noticed.
        """
        ...


@runtime_checkable
class RowSource(FrameSource, Protocol):
    """A source that can read a part of a frame in less time than all of it."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every frame."""
        ...

    def read_rows(self, frame: Frame, rows: slice) -> RawFrame:
        """A frame of its full size that is filled in these rows; others may be black and not valid."""
        ...


@runtime_checkable
class FileSource(FrameSource, Protocol):
    """A source whose images may be files of their own."""

    def image_file(self, frame: Frame) -> Path | None:
        """The file of a frame's image; ``None`` where it is a part of another file."""
        ...


class Entry(NamedTuple, Generic[Place]):
    """A frame and where it stands; the reader of the copy knows what the place means."""

    frame: Frame
    place: Place


@dataclass(frozen=True)
class ListedFrames(Generic[Place]):
    """The part of a source that has listed the frames of a folder, each with its place."""

    root: Path
    entries: tuple[Entry[Place], ...] = field(repr=False)

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Every frame of all splits."""
        return tuple(self._by_frame)

    @cached_property
    def _by_frame(self) -> dict[Frame, Place]:
        return dict(self.entries)

    def _place(self, frame: Frame) -> Place:
        try:
            return self._by_frame[frame]
        except KeyError as error:
            raise ValueError(f"{self.root}: has no {frame.split} frame {frame.id}") from error
