"""Generated indoor scenes with exact depth as a source of frames: no download, everything follows from one seed."""

import io
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ensemble.data.nyu.camera import FRAME
from ensemble.data.rooms.camera import render_frame
from ensemble.data.source import Frame, RawFrame, Split
from ensemble.runs.files import told_when_full
from ensemble.runs.fingerprints import lines_fingerprint
from ensemble.runs.locks import StoreLock
from ensemble.settings.schema import DataSettings, RoomsSettings

GENERATOR_VERSION = 1
_SCENE_NAMES: dict[Split, str] = {"train": "room", "test": "hall"}
_FRAME_ID = re.compile(r"(room|hall)_(\d+)/(\d+)")
_JPEG_QUALITY = 95
_FORMATS = {".jpg": "JPEG", ".png": "PNG"}


@dataclass(frozen=True)
class RoomsSource:
    """Frames of generated rooms (``room_0003/0001``, for training) and halls (``hall_0000/0000``, for tests).

    Attributes:
        settings: Number of scenes and frames, seed, and sensor faults.
        size: Height and width of the frames.
    """

    settings: RoomsSettings
    size: tuple[int, int]
    name: str = "rooms"

    @classmethod
    def from_settings(cls, settings: DataSettings) -> "RoomsSource":
        """Rooms rendered at the working size."""
        return cls(settings.rooms, settings.size)

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Every frame of both splits."""
        return self._listed

    @cached_property
    def _listed(self) -> tuple[Frame, ...]:
        counts: dict[Split, int] = {"train": self.settings.scenes, "test": self.settings.test_scenes}
        return tuple(
            Frame(f"{scene}/{frame:04d}", scene, split)
            for split, count in counts.items()
            for scene in (f"{_SCENE_NAMES[split]}_{index:04d}" for index in range(count))
            for frame in range(self.settings.frames)
        )

    def read(self, frame: Frame) -> RawFrame:
        """Image and depth of a frame; the same on every call and in every process."""
        match = _FRAME_ID.fullmatch(frame.id)
        if not match or match.group(1) != _SCENE_NAMES[frame.split]:
            raise ValueError(
                f"rooms: expected a {frame.split} frame such as {_SCENE_NAMES[frame.split]}_0003/0001, "
                f"found {frame.id!r}"
            )
        return render_frame(
            self.size,
            seed=(self.settings.seed, list(_SCENE_NAMES).index(frame.split), int(match.group(2))),
            frame=int(match.group(3)),
            holes=self.settings.holes,
            noise=self.settings.noise,
        )

    def read_image(self, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
        """The image alone."""
        return self.read(frame).image

    def describe(self, frames: Sequence[Frame]) -> str:
        """Fingerprint of the generator's version, everything that shapes a frame, and the frames' ids."""
        shaping = self.settings.model_dump(include={"seed", "holes", "noise"})
        header = f"{self.name} {GENERATOR_VERSION} {self.size[0]}x{self.size[1]} {sorted(shaping.items())}"
        return lines_fingerprint([header, *(f"{frame.split} {frame.id}" for frame in frames)])


def write_rooms(
    out: Path,
    settings: RoomsSettings,
    size: tuple[int, int] = FRAME,
    on_frame: Callable[[int, int], None] | None = None,
) -> int:
    """Writes rooms as ``official_splits/{train,test}/<scene>/rgb_N.jpg`` and ``sync_depth_N.png`` in millimetres.

    The frames get their final place all at once, so that a copy that was cut short is never taken for a whole one.

    Args:
        out: Folder to create; it must not hold frames yet.
        settings: What to generate.
        size: Height and width.
        on_frame: Called with the number of frames written and the number of all frames.

    Returns:
        The number of frames.

    Raises:
        ValueError: ``out`` already has an ``official_splits`` folder.
        LockedError: Another process is writing there.
        OSError: The disk is full; what was written is removed, so run again when there is room.
    """
    final, partial = out / "official_splits", out / "official_splits.partial"
    source = RoomsSource(settings, size)
    with StoreLock(out, keep=False), ExitStack() as unless_whole:
        if final.exists():
            raise ValueError(
                f"{out}: already has official_splits; expected a new folder, remove it or name another one"
            )
        if partial.exists():
            shutil.rmtree(partial)
        unless_whole.callback(shutil.rmtree, partial, ignore_errors=True)
        for done, frame in enumerate(source.frames, start=1):
            _write_pair(source.read(frame), partial / frame.split / frame.scene, int(frame.id.rpartition("/")[2]))
            if on_frame:
                on_frame(done, len(source.frames))
        partial.rename(final)
    return len(source.frames)


def _write_pair(raw: RawFrame, folder: Path, number: int) -> None:
    depth_mm = np.where(raw.valid, np.rint(raw.depth * np.float32(1000)), 0).astype(np.uint16)
    _save(raw.image, folder / f"rgb_{number:05d}.jpg", quality=_JPEG_QUALITY)
    _save(depth_mm, folder / f"sync_depth_{number:05d}.png")


def _save(pixels: np.ndarray, path: Path, **options: int) -> None:
    """Encode an image in memory and write it; nothing waits for the disk, the folder gets its name at the end."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, _FORMATS[path.suffix], **options)
    with told_when_full(path, buffer.tell()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
