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


@dataclass(frozen=True)
class RoomsSource:
    """Frames of generated rooms (``room_0003/0001``, for training) and halls (``hall_0000/0000``, for tests)."""

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
    """Writes ``official_splits/{train,test}/<scene>/rgb_N.jpg`` and ``sync_depth_N.png``; the number of frames.

    Depth is in millimetres, sizes are height and width; ``on_frame`` gets the number of frames written and of all.

    The frames get their final place all at once, so that a copy that was cut short is never taken for a whole one.

    Raises:
        ValueError: ``out`` already has an ``official_splits`` folder with something else.
        LockedError: Another process is writing there.
        OSError: The disk is full; what was written is removed, so run again when there is room.
    """
    final, partial = out / "official_splits", out / "official_splits.partial"
    source = RoomsSource(settings, size)
    with StoreLock(out, keep=False), ExitStack() as unless_whole:
        if final.exists():
            if _is_whole(final, source):
                return len(source.frames)
            raise ValueError(
                f"{out}: already has official_splits of other rooms; expected a new folder, remove it or name another "
                "one"
            )
        if partial.exists():
            shutil.rmtree(partial)
        unless_whole.callback(shutil.rmtree, partial, ignore_errors=True)
        for done, frame in enumerate(source.frames, start=1):
            for name, content in _files(frame, source).items():
                with told_when_full(partial / name, len(content)):
                    (partial / name).parent.mkdir(parents=True, exist_ok=True)
                    (partial / name).write_bytes(content)  # not synced: the folder is renamed at the end
            if on_frame:
                on_frame(done, len(source.frames))
        partial.rename(final)
    return len(source.frames)


def _is_whole(folder: Path, source: RoomsSource) -> bool:
    """Whether a folder holds the files of these rooms, the first of them as it would be written now."""
    expected = {name for frame in source.frames for name in _names(frame)}
    first = _files(source.frames[0], source)
    return expected == {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} and all(
        (folder / name).read_bytes() == content for name, content in first.items()
    )


def _names(frame: Frame) -> tuple[Path, Path]:
    """Where image and depth of a frame lie."""
    folder, number = Path(frame.split, frame.scene), int(frame.id.rpartition("/")[2])
    return folder / f"rgb_{number:05d}.jpg", folder / f"sync_depth_{number:05d}.png"


def _files(frame: Frame, source: RoomsSource) -> dict[Path, bytes]:
    """Image and depth of a frame, encoded."""
    raw, (image, depth) = source.read(frame), _names(frame)
    depth_mm = np.where(raw.valid, np.rint(raw.depth * np.float32(1000)), 0).astype(np.uint16)
    return {image: _encoded(raw.image, "JPEG", quality=_JPEG_QUALITY), depth: _encoded(depth_mm, "PNG")}


def _encoded(pixels: np.ndarray, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()
