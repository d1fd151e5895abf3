"""A training pack: the frames of a copy of NYU Depth v2, decoded once and kept so that parts of them are read fast.

A pack is a folder with ``pack.json``, its checksum, and shards ``pack-00000.h5``, which ``ensemble.data.packs.writing``
writes; a pack of a time before the checksum is read as it is. A shard holds images (``[n 3 h w]`` uint8, one plane per
channel) and depth (``[n h w]``, whole millimetres where the copy has them, float32 metres otherwise) in chunks of a few
rows of one frame, so that a crop decodes the rows it is cut from. Every frame keeps what told its content in the
original copy: fingerprints of pack and copy are the same, and what was trained or cached from one goes on from the
other.
"""

import hashlib
import json
import os
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import h5py
import hdf5plugin
import numpy as np
from jaxtyping import Float32, UInt8
from pydantic import BaseModel, ConfigDict, Field

from ensemble.data.copies import Contents, NyuSource, Problem
from ensemble.data.formats.hdf5 import PARSE_ERRORS, ForeignError, member, read_all
from ensemble.data.nyu.camera import intrinsics_of
from ensemble.data.source import Entry, Frame, RawFrame
from ensemble.runs.refusals import DamagedError, refuse_unreadable
from ensemble.runs.seals import read_text

INDEX, BEGUN = "pack.json", "pack-begun.json"
VERSION = 1
FILTERS = hdf5plugin.FILTERS
"""What shards may be compressed with; loading the module registers them."""

_OPEN_SHARDS = 256
Side = Annotated[int, Field(gt=0, le=20_000)]
Count = Annotated[int, Field(ge=0)]


class Slot(NamedTuple):
    """Where a frame stands in a pack."""

    shard: str
    row: int
    stamp: str
    checksum: int


class _Strict(BaseModel):
    """What stands in a file is of exactly these types."""

    model_config = ConfigDict(strict=True, frozen=True)


class Begun(_Strict):
    """What was settled when a packing began: the plan that was asked for, its frames, and what the doctor found."""

    plan: dict[str, Any]
    size: Annotated[list[Side], Field(min_length=2, max_length=2)]
    depth: Literal["<u2", "<f4"]
    diagnosis: dict[str, Any]
    steps: Count = 1000  # of whole-number depth, for a metre


class _ShardRecord(_Strict):
    name: str
    bytes: Count
    sha256: str
    frames: list[Annotated[list[str | int], Field(min_length=5, max_length=5)]]


class _Index(_Strict):
    size: Annotated[list[Side], Field(min_length=2, max_length=2)]
    begun: Begun
    shards: list[_ShardRecord]


class PackReader:
    """Reads the frames of a pack; every process opens the shards for itself and keeps them open.

    Attributes:
        shard_bytes: Length of each shard.
        shard_frames: What ``frames_digest`` gives for the frames of each shard; a shard without is not asked.
        steps: Of depth in whole numbers, for a metre.
    """

    def __init__(
        self,
        root: Path,
        size: tuple[int, int],
        shard_bytes: Mapping[str, int],
        shard_frames: Mapping[str, bytes] | None = None,
        steps: int = 1000,
    ) -> None:
        self.root = root
        self.size = size
        self.shard_bytes = dict(shard_bytes)
        self.shard_frames = dict(shard_frames or {})
        self.steps = np.float32(steps)
        self._open: OrderedDict[str, tuple[h5py.File, h5py.Dataset, h5py.Dataset]] = OrderedDict()
        self._owner = os.getpid()

    def image(self, place: Slot, rows: slice | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """The image, as the copy's own files decode; black outside of these rows."""
        planes = np.zeros((3, *self.size), np.uint8)  # untouched pages of zeros cost nothing
        rows = rows or slice(0, self.size[0])
        self._read(place, 0, planes, np.s_[place.row, :, rows], np.s_[:, rows])
        return planes.transpose(1, 2, 0)

    def depth(self, place: Slot, rows: slice | None = None) -> Float32[np.ndarray, "h w"]:
        """Metres, 0 where nothing was measured and outside of these rows."""
        depth = np.zeros(self.size, np.float32)
        rows = rows or slice(0, self.size[0])
        stored = np.empty((rows.stop - rows.start, self.size[1]), self._datasets(place.shard)[1].dtype)
        self._read(place, 1, stored, np.s_[place.row, rows], np.s_[:])
        depth[rows] = stored if stored.dtype == np.float32 else stored / self.steps
        return depth

    def rows(self, place: Slot, rows: slice | None = None) -> RawFrame:
        """A frame that is filled in these rows, or all of them, and black elsewhere."""
        depth = self.depth(place, rows)
        return RawFrame(self.image(place, rows), depth, depth > 0, intrinsics_of(self.size))

    def whole(self, place: Slot) -> RawFrame:
        """All of a frame; refused where it is damaged, or not what was packed."""
        raw = self.rows(place)
        if (found := frame_checksum(raw)) != place.checksum:
            reason = f"checksum {found}, expected {place.checksum}"
            raise ValueError(f"{self.where(place)}: damaged ({reason}); remove this file and pack again")
        return raw

    def close(self) -> None:
        """Let go of every file."""
        for shard in list(self._open):
            self._close(shard)

    def check(self, place: Slot) -> None:
        """The shard is there and has its length."""
        path = self.root / place.shard
        try:
            found = path.stat().st_size
        except FileNotFoundError as error:
            raise ValueError(f"{path}: is missing; pack again") from error
        except OSError as error:
            refuse_unreadable(path, error)
            raise
        if found != self.shard_bytes[place.shard]:
            raise ValueError(f"{path}: cut short at {found} of {self.shard_bytes[place.shard]} bytes; pack again")

    def stamp(self, place: Slot) -> str:
        """What told the frame's content in the copy that it was packed from."""
        return place.stamp

    def where(self, place: Slot) -> str:
        """Shard and row."""
        return f"{self.root / place.shard}, row {place.row}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def _read(self, place: Slot, which: int, into: np.ndarray, source: Any, target: Any) -> None:
        try:
            self._datasets(place.shard)[which].read_direct(into, source, target)
        except PARSE_ERRORS as error:
            self._close(place.shard)
            refuse_unreadable(self.where(place), error)
            raise ValueError(f"{self.where(place)}: damaged ({error}); remove this file and pack again") from error

    def _datasets(self, shard: str) -> tuple[h5py.Dataset, h5py.Dataset]:
        if self._owner != os.getpid():
            self._open, self._owner = OrderedDict(), os.getpid()
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard][1:]
        if len(self._open) >= _OPEN_SHARDS:
            self._close(next(iter(self._open)))
        opened = open_shard(self.root / shard, self.size)
        if (
            shard in self.shard_frames
            and frames_digest(_frames_of(opened[0], self.root / shard)) != (self.shard_frames[shard])
        ):
            opened[0].close()
            raise ValueError(f"{self.root / shard}: holds other frames than {INDEX} says; remove it and pack again")
        self._open[shard] = opened
        return opened[1:]

    def _close(self, shard: str) -> None:
        if shard in self._open:
            self._open.pop(shard)[0].close()


@dataclass(frozen=True)
class PackSource(NyuSource):
    """The frames of a pack as a source that can read parts of them."""

    reader: PackReader

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every frame."""
        return self.reader.size

    def read(self, frame: Frame) -> RawFrame:
        """Image and depth of a frame; refused where their checksum is not what was packed."""
        return self.reader.whole(self._place(frame))

    def read_rows(self, frame: Frame, rows: slice) -> RawFrame:
        """A frame of its full size that is filled in these rows."""
        return self.reader.rows(self._place(frame), rows)


def contents(root: Path) -> Contents:
    """The frames of a finished pack; refused where ``pack.json`` is damaged, of another version or of other data."""
    index = read_index(root / INDEX)
    if (kind := index["begun"]["plan"].get("kind")) is not None:
        raise ValueError(f"{root}: is a pack of {kind}, expected one of NYU Depth v2; add --data {kind}")
    reader, entries = opened(root, index)
    problems = [Problem("missing", str(root / name)) for name in reader.shard_bytes if not (root / name).is_file()]
    lost = {Path(problem.text).name for problem in problems}
    kept = tuple(entry for entry in entries if entry.place.shard not in lost)
    return Contents(PackSource(root, kept, reader), tuple(problems))


def opened(root: Path, index: dict[str, Any]) -> tuple[PackReader, list[Entry]]:
    """The reader of a pack with this index, and every frame with its place."""
    entries = []
    for shard in index["shards"]:
        for row, (frame_id, scene, split, stamp, checksum) in enumerate(shard["frames"]):
            entries.append(Entry(Frame(frame_id, scene, split), Slot(shard["name"], row, stamp, checksum)))
    reader = PackReader(
        root,
        tuple(index["size"]),
        {shard["name"]: shard["bytes"] for shard in index["shards"]},
        {shard["name"]: frames_digest(shard["frames"]) for shard in index["shards"]},
        index["begun"].get("steps", 1000),
    )
    return reader, entries


def read_index(path: Path) -> dict[str, Any]:
    """What ``pack.json`` says, unless it is damaged, of another version, or names files outside of the pack."""
    try:
        index = json.loads(read_text(path))
        version = index["stackdepth pack"]
        checked = _Index.model_validate(index) if version == VERSION else None
    except DamagedError as error:
        raise ValueError(f"{error.path}: damaged ({error.found}); pack again with --rebuild") from error
    except (OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        refuse_unreadable(path, error)
        raise ValueError(
            f"{path}: damaged ({error}); expected the index of a pack, pack again with --rebuild"
        ) from error
    if checked is None:
        raise ValueError(f"{path}: a pack of version {version}, expected {VERSION}; pack again with --rebuild")
    frames = [frame for shard in checked.shards for frame in shard.frames]
    named = all(shard.name == f"pack-{number:05d}.h5" for number, shard in enumerate(checked.shards))
    if not named or not all(map(_is_frame, frames)):
        raise ValueError(
            f"{path}: names foreign files or frames; expected pack-00000.h5 ..., pack again with --rebuild"
        )
    return index


def read_begun(path: Path) -> dict[str, Any]:
    """What ``pack-begun.json`` says; refused where it is damaged."""
    try:
        begun = json.loads(read_text(path))
        Begun.model_validate(begun)
    except DamagedError as error:
        raise ValueError(f"{error.path}: damaged ({error.found}); give --rebuild") from error
    except (OSError, ValueError, MemoryError) as error:
        refuse_unreadable(path, error)
        raise ValueError(f"{path}: damaged ({error}); expected what a packing began with, give --rebuild") from error
    return begun


def _is_frame(fields: Sequence[str | int]) -> bool:
    """Id, scene, split, stamp and checksum."""
    *names, checksum = fields
    return (
        all(isinstance(name, str) for name in names)
        and names[2] in ("train", "validation", "test")
        and isinstance(checksum, int)
    )


def read_frames(path: Path, size: tuple[int, int]) -> list[list[Any]]:
    """What a shard says of its own frames, unless it is damaged: id, scene, split, stamp and checksum of each."""
    file, image, _ = open_shard(path, size)
    count = len(image)
    try:
        rows = _frames_of(file, path)
    finally:
        file.close()
    if len(rows) != count:
        raise ValueError(f"{path}: names {len(rows)} frames and holds {count}; remove it and pack again")
    return rows


def frames_digest(rows: Sequence[Sequence[str | int]]) -> bytes:
    """Equal for shards that say the same of their frames."""
    return hashlib.blake2b(json.dumps(rows).encode("utf-8"), digest_size=16).digest()


def _frames_of(file: h5py.File, path: Path) -> list[list[Any]]:
    try:
        return json.loads(read_all(member(file, "frames"), "frames").tobytes())
    except PARSE_ERRORS as error:
        refuse_unreadable(path, error)
        raise ValueError(f"{path}: damaged ({error}); remove it and pack again") from error


def open_shard(path: Path, size: tuple[int, int]) -> tuple[h5py.File, h5py.Dataset, h5py.Dataset]:
    """A shard with its images and its depth, once it is sure that both lie in it and have the shape of frames.

    Raises:
        UnreadableError: The system refuses to read it.
        ValueError: It is damaged, points outside of itself, or is laid out otherwise.
    """
    try:
        with ExitStack() as unless_sound:
            # Every chunk is read once, so HDF5 need not remember any; readers need no locks, which some disks lack.
            file = unless_sound.enter_context(h5py.File(path, "r", locking=False, rdcc_nbytes=0))
            image, depth = member(file, "image"), member(file, "depth")
            if image.shape[1:] != (3, *size) or image.dtype != np.uint8 or depth.shape != (len(image), *size):
                raise ValueError(f"image is {image.shape}, depth {depth.shape}, expected frames of {size[0]}x{size[1]}")
            if depth.dtype not in (np.dtype("<u2"), np.dtype("<f4")):
                raise ValueError(f"depth is {depth.dtype}, expected uint16 or float32")
            unless_sound.pop_all()
            return file, image, depth
    except PARSE_ERRORS as error:
        refuse_unreadable(path, error)
        what = "points out of itself" if isinstance(error, ForeignError) else "damaged or cut short"
        raise ValueError(f"{path}: {what} ({error}); remove it and pack again") from error


def frame_checksum(raw: RawFrame) -> int:
    """CRC-32 over image and depth of a frame, in the order of their rows."""
    return zlib.crc32(np.ascontiguousarray(raw.depth).data, zlib.crc32(np.ascontiguousarray(raw.image).data))
