"""Writes training packs: shard by shard, each whole or not there, each read back and compared before it counts."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from ensemble.data.copies import NyuSource
from ensemble.data.doctor.diagnosis import diagnose
from ensemble.data.doctor.kitti import diagnose_kitti
from ensemble.data.kitti.depth import STEPS
from ensemble.data.kitti.source import KittiSource, open_copy
from ensemble.data.nyu.recognition import open_nyu
from ensemble.data.packs.reading import (
    BEGUN,
    INDEX,
    VERSION,
    PackReader,
    Slot,
    frame_checksum,
    read_begun,
    read_frames,
    read_index,
)
from ensemble.data.source import Entry, RawFrame
from ensemble.runs import files
from ensemble.runs.locks import StoreLock
from ensemble.runs.refusals import UnreadableError
from ensemble.runs.seals import checksum_file, write_checked
from ensemble.settings.layers import Choice
from ensemble.settings.schema import DataSettings
from ensemble.settings.trees import check_name

SHARD_FRAMES = 128
BAND_ROWS = 48
"""Rows of one chunk: a crop decodes the bands that it is cut from."""

CODECS: dict[str, Mapping[str, Any]] = {
    "none": {},  # read twice as fast as lz4; docs/benchmarks.md has the figures
    "lz4": dict(hdf5plugin.Bitshuffle(cname="lz4")),
}
"""What chunks may be compressed with; all of them carry a checksum."""

_LOOKED_AT = 16
OnFrame = Callable[[int, int], None]
Copy = NyuSource | KittiSource


def write_pack(
    root: Path,
    out: Path,
    *,
    full: bool = True,
    infilled: bool = False,
    rebuild: bool = False,
    codec: str = "none",
    shard_frames: int = SHARD_FRAMES,
    data: DataSettings | None = None,
    on_look: OnFrame | None = None,
    on_frame: OnFrame | None = None,
) -> int:
    """Packs the copy in a folder, or goes on with a pack that was not finished; the number of its frames.

    The doctor decodes every frame first (``full``) or a sample; in-filled depth is taken where asked for and a copy has
    both kinds. ``rebuild`` throws away what is there, ``codec`` is a key in ``CODECS``, ``data`` names another data set
    than NYU Depth v2 and what of it; a killed packing loses at most the frames of a shard. ``on_look`` and ``on_frame``
    get the frames that the doctor has seen and that are packed, and all.

    Raises:
        ValueError: Training on the copy would be wrong, its frames differ in size, the codec is unknown, or ``out``
            holds another pack.
        LockedError: Another process is packing into ``out``.
        OSError: The disk is full; run again when there is room.
    """
    check_name(codec, CODECS, "codec")
    source = open_nyu(root, infilled=infilled) if data is None else open_copy(root, data)
    if out.resolve() == root.resolve():
        raise ValueError(f"{out}: is the folder of the copy itself; name another one for the pack")
    plan = {"version": VERSION, "source": source.describe(source.frames), "infilled": infilled}
    plan |= {"shard_frames": shard_frames, "codec": codec}
    if data is not None:
        plan |= {"kind": data.kind, "kitti": data.kitti.model_dump(mode="json")}
    judge = partial(_judged, source, data, full=full, on_look=on_look, infilled=infilled)
    with StoreLock(out, keep=False):
        if rebuild:
            _forget(out)
        return _write(source, out, plan, judge, on_frame=on_frame)


def _judged(
    source: Copy, data: DataSettings | None, *, full: bool, on_look: OnFrame | None, infilled: bool
) -> dict[str, Any]:
    """What the doctor says of a copy.

    Raises:
        ValueError: Training on it would be wrong.
    """
    if data is None:
        diagnosis = diagnose(source.root, full=full, infilled=infilled, on_frame=on_look)
    else:
        choice = Choice(kind=data.kind, root=source.root)
        diagnosis = diagnose_kitti(source.root, data, choice, full=full, on_frame=on_look)
    if not diagnosis.trainable:
        errors = "; ".join(finding.text for finding in diagnosis.findings if finding.level == "error")
        raise ValueError(f"{source.root}: not packed, training on it would be wrong: {errors}")
    return diagnosis.summary()


def _write(
    source: Copy, out: Path, plan: dict[str, Any], judge: Callable[[], dict[str, Any]], *, on_frame: OnFrame | None
) -> int:
    """Shards, then the index; the folder is ours."""
    if (out / INDEX).is_file():
        index = read_index(out / INDEX)
        _require_same(plan, index["begun"]["plan"], out)
        if all(_digest(out / shard["name"]) == shard["sha256"] for shard in index["shards"]):
            return sum(len(shard["frames"]) for shard in index["shards"])
        _put(out / BEGUN, index["begun"])
        _remove(out / INDEX)
    begun = _begin(source, out, plan, judge)
    try:
        shards = list(_write_shards(source, out, begun, on_frame))
    except _FractionsError:  # depth that looked like whole steps is not: pack it as it is
        _forget(out)
        begun = {**begun, "depth": "<f4"}
        _put(out / BEGUN, begun)
        shards = list(_write_shards(source, out, begun, on_frame))
    index = {"stackdepth pack": VERSION, "size": begun["size"], "begun": begun, "shards": shards}
    _put(out / INDEX, index)
    _remove(out / BEGUN)
    return len(source.frames)


class _FractionsError(ValueError):
    """A depth has fractions of a step."""


def _begin(source: Copy, out: Path, plan: dict[str, Any], judge: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was settled when the packing of this folder began; looks at the copy where it begins now."""
    if (out / BEGUN).is_file():
        begun = read_begun(out / BEGUN)
        _require_same(plan, begun["plan"], out)
        return begun
    if found := sorted(out.glob("pack-*.h5")):
        raise ValueError(f"{out}: holds {found[0].name} of an unknown pack; name another folder, or give --rebuild")
    diagnosis = judge()
    chosen = [source.frames[index] for index in np.linspace(0, len(source.frames) - 1, _LOOKED_AT).astype(int)]
    looked_at = [source.read(frame) for frame in dict.fromkeys(chosen)]
    steps = STEPS if "kind" in plan else 1000
    begun = {
        "plan": plan,
        "size": list(looked_at[0].depth.shape),
        "depth": "<u2" if all(_has_whole_steps(raw.depth, steps) for raw in looked_at) else "<f4",
        "diagnosis": diagnosis,
        **({"steps": steps} if "kind" in plan else {}),
    }
    _put(out / BEGUN, begun)
    return begun


def _require_same(expected: dict[str, Any], found: dict[str, Any], out: Path) -> None:
    if differing := [key for key, value in expected.items() if found.get(key) != value]:
        raise ValueError(
            f"{out}: holds a pack that was begun with other {', '.join(differing)}; "
            "name another folder, or give --rebuild to throw it away"
        )


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _forget(out: Path) -> None:
    for path in (out / INDEX, out / BEGUN, *out.glob("pack-?????.h5")):
        _remove(path)


def _put(path: Path, record: dict[str, Any]) -> None:
    write_checked(path, (json.dumps(record, separators=(",", ":")) + "\n").encode())


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    checksum_file(path).unlink(missing_ok=True)


def _write_shards(source: Copy, out: Path, begun: dict[str, Any], on_frame: OnFrame | None) -> Iterator[dict[str, Any]]:
    """The record of every shard, for the index; shards that are there and whole are kept."""
    entries, step = source.entries, begun["plan"]["shard_frames"]
    for number, start in enumerate(range(0, len(entries), step)):
        own, path = entries[start : start + step], out / f"pack-{number:05d}.h5"
        names = [[*astuple(entry.frame), _stamp(source, entry)] for entry in own]
        record = _kept_record(path, names, begun)
        if record is None:
            files.write_bytes(path, _shard((source.read(entry.frame) for entry in own), names, begun))
            record = _kept_record(path, names, begun)
        if record is None:
            raise ValueError(f"{path}: does not read as it was written; the disk or the memory may be failing")
        if on_frame:
            on_frame(start + len(own), len(entries))
        yield record


def _shard(frames: Iterable[RawFrame], names: Sequence[Sequence[str]], begun: dict[str, Any]) -> bytes:
    """The content of a shard; put together in memory, because HDF5 does not survive a disk that fills up under it."""
    height, width = size = tuple(begun["size"])
    band = min(BAND_ROWS, height)
    # The newest layout has checksums over its own tables too, which chunks are found by.
    with h5py.File("shard", "w", driver="core", backing_store=False, libver="latest") as file:
        chunks = {"fletcher32": True, **CODECS[begun["plan"]["codec"]]}
        image = file.create_dataset("image", (len(names), 3, *size), np.uint8, chunks=(1, 3, band, width), **chunks)
        depth = file.create_dataset("depth", (len(names), *size), begun["depth"], chunks=(1, band, width), **chunks)
        rows = []
        for row, (raw, name) in enumerate(zip(frames, names, strict=True)):
            if raw.depth.shape != size:
                found = f"{raw.depth.shape[0]}x{raw.depth.shape[1]} pixels, expected {height}x{width}"
                raise ValueError(f"{name[0]}: {found}; a pack holds frames of one size")
            image[row], depth[row] = raw.image.transpose(2, 0, 1), _stored_depth(raw, begun)
            rows.append([*name, frame_checksum(raw)])
        file.create_dataset("frames", data=np.frombuffer(json.dumps(rows).encode("utf-8"), np.uint8))
        file.flush()
        return file.id.get_file_image()


def _stamp(source: Copy, entry: Entry) -> str:
    """What tells a frame's content in its copy, and what else is known of it."""
    return source.stamp(entry.frame) if isinstance(source, KittiSource) else source.reader.stamp(entry.place)


def _stored_depth(raw: RawFrame, begun: Mapping[str, Any]) -> np.ndarray:
    if not np.array_equal(raw.valid, raw.depth > 0):
        raise ValueError("a frame has depth where nothing was measured; expected 0 there")
    steps = begun.get("steps", 1000)
    if begun["depth"] == "<f4":
        return raw.depth
    if not _has_whole_steps(raw.depth, steps):
        raise _FractionsError
    return _whole_steps(raw.depth, steps)


def _whole_steps(depth: np.ndarray, steps: int) -> np.ndarray:
    return np.rint(np.clip(np.nan_to_num(depth), 0, np.iinfo(np.uint16).max // steps) * np.float32(steps)).astype("<u2")


def _has_whole_steps(depth: np.ndarray, steps: int) -> bool:
    """Whether depth comes back to the last bit from whole steps of so many for a metre."""
    return np.array_equal(_whole_steps(depth, steps) / np.float32(steps), depth)


def _kept_record(path: Path, names: Sequence[Sequence[str]], begun: dict[str, Any]) -> dict[str, Any] | None:
    """What the index says of a shard, once every frame of it was read back; ``None`` where it must be written anew."""
    if not path.is_file():
        return None
    size = tuple(begun["size"])
    reader = PackReader(path.parent, size, {path.name: path.stat().st_size}, steps=begun.get("steps", 1000))
    try:
        rows = read_frames(path, size)
        same = [row[:4] for row in rows] == [list(name) for name in names]
        slots = [Slot(path.name, number, row[3], row[4]) for number, row in enumerate(rows)]
        if not same:
            return None
        for slot in slots:
            reader.whole(slot)
    except UnreadableError:
        raise  # it may be whole: to write it anew mends nothing
    except (ValueError, TypeError, IndexError):
        return None
    finally:
        reader.close()
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": _digest(path), "frames": rows}
