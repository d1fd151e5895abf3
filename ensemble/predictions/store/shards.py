"""The file of a shard: how it is laid out, and what a file must look like before one byte of it is believed.

A shard is an HDF5 file behind a user block of 512 bytes, which holds the SHA-256 of all that follows. Whole files are
checked against it (``is_intact``). Every single read is checked against the row's own CRC-32, which starts from the
frame's name, so that neither a flipped bit nor a chunk in another's place can come out as depth.

Files may come from anywhere: only hard links, only datasets stored inside the file, only known filters, types and
shapes are opened.
"""

import hashlib
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5l, h5o, h5z  # pyright: ignore[reportAttributeAccessIssue]
from jaxtyping import Float, UInt16, UInt32
from zlib_ng import zlib_ng

from ensemble.predictions.store.identity import (
    SCHEMA,
    TITLES,
    CacheError,
    DamagedCacheError,
    Description,
    StaleCacheError,
    differences_between,
)
from ensemble.runs.refusals import refuse_unreadable

LEVELS = 65535
CODECS: dict[str, Mapping[str, Any]] = {
    "none": {},  # read ten times as fast; docs/benchmarks.md has the figures
    "gzip": {"shuffle": True, "compression": 1, "fletcher32": True},
}
"""How rows may be compressed; readers take either."""
_USER_BLOCK_BYTES = 512
_USER_BLOCK_START = b"stackdepth predictions, sha256 of all bytes after the first 512: "
_MEMBERS = ("crc32", "depth", "frame")
_FILTERS = {h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE, h5z.FILTER_FLETCHER32}
PARSE_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError)


@dataclass(frozen=True)
class ShardIndex:
    """What is known of a shard after it was looked through, without its depth."""

    path: Path
    description: Description  # what it says it was made from
    frames: tuple[str, ...]  # frame ids in the order of the rows
    crc32: UInt32[np.ndarray, " n"]  # checksum of every row
    offsets: tuple[int, ...]  # where in the file each row begins; empty where rows are compressed


def shard_paths(directory: Path) -> list[Path]:
    """The shards of a store in the order of their numbers; none where there is no folder."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if re.fullmatch(r"shard-\d{5}\.h5", path.name))


def quantise(depth: Float[np.ndarray, "h w"], *, max_depth: float) -> UInt16[np.ndarray, "h w"]:
    """Fixed point over 0 .. ``max_depth`` metres, rounded to the nearest of 65,536 levels.

    Depth is finite; up to one level outside of the range counts as its end.
    """
    levels = np.rint(depth.astype(np.float64) * (LEVELS / max_depth))
    return np.clip(levels, 0, LEVELS).astype("<u2")


def metres(levels: UInt16[np.ndarray, "h w"], *, max_depth: float) -> Float[np.ndarray, "h w"]:
    """Depth in metres of fixed-point levels over 0 .. ``max_depth``."""
    depth = levels.astype(np.float32)
    depth *= np.float32(max_depth)  # exact where max_depth is a whole number of metres: below 2 ** 24
    depth /= np.float32(LEVELS)
    return depth


def row_checksum(frame_id: str, levels: UInt16[np.ndarray, "h w"]) -> int:
    """CRC-32 over a frame's name and its row."""
    values = np.ascontiguousarray(levels, dtype="<u2")
    return zlib_ng.crc32(values.data, zlib_ng.crc32(frame_id.encode("utf-8")))


def shard_bytes(
    description: Description,
    frame_ids: Sequence[str],
    rows: Sequence[UInt16[np.ndarray, "h w"]],
    *,
    codec: str = "none",
) -> bytes:
    """The whole file of a shard.

    It is put together in memory: HDF5 does not come back cleanly from a disk that fills up under it.
    """
    names = np.array([frame_id.encode("utf-8") for frame_id in frame_ids])
    checksums = [row_checksum(frame_id, levels) for frame_id, levels in zip(frame_ids, rows, strict=True)]
    with h5py.File("shard", "w", driver="core", backing_store=False) as file:
        file.create_dataset("depth", data=np.stack(rows), chunks=(1, *rows[0].shape), **CODECS[codec])
        file.create_dataset("frame", data=names)
        file.create_dataset("crc32", data=np.array(checksums, dtype="<u4"))
        for key, value in description.items():
            file.attrs[key] = np.bytes_(value.encode("utf-8")) if isinstance(value, str) else value
        file.flush()
        content = file.id.get_file_image()
    return _user_block(hashlib.sha256(content).hexdigest()) + content


def is_intact(path: Path) -> bool:
    """Whether it is a plain file and every byte of it as it was written; HDF5 does not look at it.

    Raises:
        UnreadableError: The system refuses to read it.
    """
    try:
        if not _is_plain_file(path):
            return False
        with path.open("rb") as file:
            head = file.read(_USER_BLOCK_BYTES)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, MemoryError) as error:
        refuse_unreadable(path, error)
        raise
    return head == _user_block(digest)


def read_index(path: Path, *, expected: Description, mend: str) -> ShardIndex:
    """Look through a shard without reading depth; rows of one that does not say ``expected`` are not looked at.

    Raises:
        UnreadableError: The system refuses to read it.
        CacheError: It points outside of itself, or is laid out otherwise than shards are.
    """
    with open_shard(path, mend=mend) as file:
        try:
            description = _description(file)
            if description != expected:
                return ShardIndex(path, description, (), np.empty(0, np.uint32), ())
            depth, frame, crc32 = (h5d.open(file.id, name) for name in (b"depth", b"frame", b"crc32"))
            _check_depth(depth, rows=_row_count(frame, path), size=(expected["height"], expected["width"]))
            _check_checksums(crc32, rows=frame.shape[0])
            names = tuple(name.decode("utf-8") for name in h5py.Dataset(frame)[:])
            checksums = np.asarray(h5py.Dataset(crc32)[:])
            offsets = _offsets(depth)
        except PARSE_ERRORS as error:
            refuse_unreadable(path, error)
            raise damaged(path, str(error), mend=mend) from error
    return ShardIndex(path, description, names, checksums, offsets)


def open_shard(path: Path, *, mend: str) -> h5py.File:
    """Open a shard for reading, once it is sure that it holds no link to anything else.

    Raises:
        UnreadableError: The system refuses to open it.
        CacheError: It holds links, is itself one, or is no HDF5 file.
    """
    try:
        if not _is_plain_file(path):
            raise damaged(path, "is a link or no regular file; shards are plain files", mend=mend)
        file = h5py.File(path, "r", locking=False)  # some disks have no locks, and checksums guard what is read
    except CacheError:
        raise
    except PARSE_ERRORS as error:
        refuse_unreadable(path, error)
        raise damaged(path, f"HDF5 cannot open it ({error})", mend=mend) from error
    try:
        _check_members(file)
    except PARSE_ERRORS as error:
        file.close()
        refuse_unreadable(path, error)
        raise damaged(path, str(error), mend=mend) from error
    return file


def refuse_stale(index: ShardIndex, expected: Description, *, mend: str) -> None:
    """Stop at a shard that was made from something else.

    Raises:
        StaleCacheError: Names both sides of every difference.
    """
    differences = differences_between(index.description, expected)
    if differences:
        raise StaleCacheError(f"{index.path}: stale: {'; '.join(differences)}.\nRun: {mend} --rebuild")


def damaged(path: Path, reason: str, *, mend: str) -> DamagedCacheError:
    """The complaint about a shard that only its removal mends."""
    return DamagedCacheError(
        f"{path}: not a shard as it was written: {reason}. Remove this file, only its frames are then computed again:\n"
        f"rm '{path}' && {mend}"
    )


def _is_plain_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _user_block(digest: str) -> bytes:
    return (_USER_BLOCK_START + digest.encode("ascii") + b"\n").ljust(_USER_BLOCK_BYTES, b"\0")


def _check_members(file: h5py.File) -> None:
    """Refuse links and anything stored elsewhere; nothing is followed or read for this."""
    names = sorted(name.decode("utf-8", "replace") for name in file.id)
    for name in names:
        if file.id.links.get_info(name.encode("utf-8")).type != h5l.TYPE_HARD:
            raise CacheError(f"'{name}' is a soft or external link, which may point outside of the file")
    if tuple(names) != _MEMBERS:
        raise CacheError(f"it holds {names}, expected {list(_MEMBERS)}")
    for name in names:
        opened = h5o.open(file.id, name.encode("utf-8"))
        if not isinstance(opened, h5d.DatasetID):
            raise CacheError(f"'{name}' is not a dataset")
        plan = opened.get_create_plist()
        if plan.get_layout() == h5d.VIRTUAL:
            raise CacheError(f"'{name}' is a virtual dataset, which may read other files")
        if plan.get_external_count():
            raise CacheError(f"'{name}' is stored outside of the file")
        foreign = {plan.get_filter(number)[0] for number in range(plan.get_nfilters())} - _FILTERS
        if foreign:
            raise CacheError(f"'{name}' uses the unknown filters {sorted(foreign)}")


def _row_count(frame: h5d.DatasetID, path: Path) -> int:
    """Number of frame names, refusing more than the file has room for."""
    if len(frame.shape) != 1 or frame.shape[0] < 1 or frame.dtype.kind != "S" or frame.dtype.itemsize > 1024:
        raise CacheError(f"'frame' is {frame.dtype} {frame.shape}, expected a row of names of at most 1024 bytes")
    if not _is_plain(frame) or frame.shape[0] * frame.dtype.itemsize > path.stat().st_size:
        raise CacheError(f"'frame' claims {frame.shape[0]} names, more than the file holds")
    return frame.shape[0]


def _check_checksums(crc32: h5d.DatasetID, *, rows: int) -> None:
    if crc32.shape != (rows,) or crc32.dtype != np.dtype("<u4") or not _is_plain(crc32):
        raise CacheError(f"'crc32' is {crc32.dtype} {crc32.shape}, expected plain uint32 ({rows},)")


def _check_depth(depth: h5d.DatasetID, *, rows: int, size: tuple[str | int | float, str | int | float]) -> None:
    """Refuse shapes and types that are not those of rows, before memory is given to them."""
    if depth.shape != (rows, *size) or depth.dtype != np.dtype("<u2"):
        raise CacheError(f"'depth' is {depth.dtype} {depth.shape}, expected uint16 {(rows, *size)}")
    plan = depth.get_create_plist()
    if plan.get_layout() != h5d.CHUNKED or plan.get_chunk() != (1, *size):
        raise CacheError(f"'depth' is not stored in one chunk per frame of {size[0]}x{size[1]} pixels")


def _offsets(depth: h5d.DatasetID) -> tuple[int, ...]:
    """Where each row begins in the file, for rows that lie there as in memory; refused where one was never written."""
    if depth.get_create_plist().get_nfilters():
        return ()
    found = [depth.get_chunk_info_by_coord((row, 0, 0)).byte_offset for row in range(depth.shape[0])]
    if None in found:
        raise CacheError(f"row {found.index(None)} of 'depth' was never written")
    return tuple(found)


def _is_plain(dataset: h5d.DatasetID) -> bool:
    """Whether it lies in the file as it is in memory, so that it cannot be larger than the file."""
    plan = dataset.get_create_plist()
    return plan.get_layout() == h5d.CONTIGUOUS and plan.get_nfilters() == 0


def _description(file: h5py.File) -> Description:
    schema = _attribute(file, "schema")
    if schema != SCHEMA:
        return {"schema": schema}
    return {key: _attribute(file, key) for key in TITLES}


def _attribute(file: h5py.File, key: str) -> str | int | float:
    if not h5a.exists(file.id, key.encode("utf-8")):
        raise CacheError(f"it has no attribute '{key}'")
    attribute = h5a.open(file.id, key.encode("utf-8"))
    if attribute.shape != () or attribute.dtype.kind not in "Sif" or attribute.dtype.itemsize > 1024:
        raise CacheError(f"attribute '{key}' is {attribute.dtype} {attribute.shape}, expected one text or number")
    value = file.attrs[key]
    return value.decode("utf-8") if isinstance(value, bytes) else value.item()  # pyright: ignore
