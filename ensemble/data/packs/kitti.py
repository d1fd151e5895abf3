"""A training pack of KITTI: frames of the KB crop with their cameras, decoded once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ensemble.data.kitti.stamps import described, unpacked
from ensemble.data.packs.reading import INDEX, PackReader, Slot, opened, read_index
from ensemble.data.source import Frame, ListedFrames, RawFrame
from ensemble.settings.kinds import KITTI
from ensemble.settings.schema import DataSettings, KittiSettings


@dataclass(frozen=True)
class KittiPackSource(ListedFrames[Slot]):
    """The frames of a pack of KITTI as a source that can read parts of them."""

    settings: DataSettings
    reader: PackReader

    @property
    def name(self) -> str:
        """The kind of data."""
        return self.settings.kind

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every frame."""
        return self.reader.size

    def read(self, frame: Frame) -> RawFrame:
        """Image and depth of a frame; refused where their checksum is not what was packed."""
        slot = self._place(frame)
        return _placed(self.reader.whole(slot), slot)

    def read_rows(self, frame: Frame, rows: slice) -> RawFrame:
        """A frame of its full size that is filled in these rows."""
        slot = self._place(frame)
        return _placed(self.reader.rows(slot, rows), slot)

    def read_image(self, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
        """The image alone."""
        return self.reader.image(self._place(frame))

    def check(self, frame: Frame) -> None:
        """Raises ``ValueError`` where the shard is missing or cut short."""
        self.reader.check(self._place(frame))

    def describe(self, frames: Sequence[Frame]) -> str:
        """The fingerprint of the copy that was packed."""
        return described(self.settings, [(frame, unpacked(self._place(frame).stamp)[0]) for frame in frames])

    def depth_file(self, frame: Frame) -> Path:
        """The shard of a frame, for messages."""
        return self.root / self._place(frame).shard

    def calibrated(self, frame: Frame) -> bool:
        """Whether the camera of a frame is known."""
        return unpacked(self._place(frame).stamp)[1] is not None


def open_pack(root: Path, settings: DataSettings) -> KittiPackSource:
    """The frames of a finished pack.

    Raises:
        ValueError: It is not finished or damaged, of other data, or of other frames or depth than the settings ask for.
    """
    if not (root / INDEX).is_file():
        raise ValueError(
            f"{root}: found a training pack that is not finished, expected {INDEX}; give python -m ensemble.data pack "
            f"--data {KITTI} once more, it goes on where it was"
        )
    index = read_index(root / INDEX)
    plan = index["begun"]["plan"]
    if plan.get("kind") != KITTI:
        raise ValueError(f"{root}: is a pack of NYU Depth v2, expected one of KITTI; leave --data {KITTI} out")
    packed = KittiSettings.model_validate(plan["kitti"])
    asked = {"depth": settings.kitti.depth, "crop": settings.kitti.crop, **settings.kitti.model_dump(exclude_none=True)}
    if differing := [f"{key}={value}" for key, value in asked.items() if getattr(packed, key) != value]:
        raise ValueError(
            f"{root}: was packed with other data.kitti settings than {', '.join(differing)}; pack the copy again with "
            "--set, or leave these out"
        )
    reader, entries = opened(root, index)
    if lost := [name for name in reader.shard_bytes if not (root / name).is_file()]:
        raise ValueError(f"{root / lost[0]}: is missing, with {len(lost) - 1} more; pack again, what is there is kept")
    return KittiPackSource(root, tuple(entries), settings, reader)


def _placed(raw: RawFrame, slot: Slot) -> RawFrame:
    _, camera, window = unpacked(slot.stamp)
    return replace(raw, intrinsics=camera, window=window)
