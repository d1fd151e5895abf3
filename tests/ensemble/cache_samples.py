"""Stores for the tests of the cache, and what the processes that these tests start and kill do."""

import ctypes
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from ensemble.predictions.store import CacheIdentity, PredictionReader, PredictionWriter, fill_stores
from ensemble.predictions.store.shards import is_intact, read_index, shard_paths
from ensemble.runs.fingerprints import fingerprint

SIZE = (12, 16)
MAX_DEPTH = 10.0
LEARNERS = ("adabins", "bts", "ldrn")
MEND = "python -m ensemble.base cache bts --role fit"


def identity(learner: str = "bts", **changes: object) -> CacheIdentity:
    original = CacheIdentity(
        learner=learner,
        role="fit",
        fold=None,
        weights=fingerprint(["weights", learner]),
        preprocessing=fingerprint("preprocessing"),
        frames=fingerprint("frames"),
        folds=fingerprint("folds"),
    )
    return replace(original, **changes)


def frame_ids(count: int) -> list[str]:
    return [f"group_{index // 10:03d}/rgb_{index:05d}" for index in range(count)]


def depth_of(learner: str, frame_id: str) -> np.ndarray:
    seed = int(fingerprint([learner, frame_id])[:12], 16)
    return (np.random.default_rng(seed).random(SIZE) * MAX_DEPTH).astype(np.float32)


def writer(
    directory: Path,
    count: int,
    *,
    learner: str = "bts",
    shard_frames: int = 8,
    rebuild: bool = False,
    codec: str = "none",
) -> PredictionWriter:
    return PredictionWriter(
        directory,
        identity(learner),
        frame_ids(count),
        size=SIZE,
        max_depth=MAX_DEPTH,
        shard_frames=shard_frames,
        rebuild=rebuild,
        codec=codec,
        mend=MEND,
    )


def fill(
    directory: Path, count: int, *, learner: str = "bts", shard_frames: int = 8, rebuild: bool = False
) -> list[str]:
    """Write what is missing; returns the frames that were."""
    with writer(directory, count, learner=learner, shard_frames=shard_frames, rebuild=rebuild) as store:
        missing = store.missing()
        for frame_id in missing:
            store.append(frame_id, depth_of(learner, frame_id))
    return missing


def reader(directory: Path, count: int, *, learner: str = "bts") -> PredictionReader:
    return PredictionReader(directory, identity(learner), frame_ids(count), size=SIZE, max_depth=MAX_DEPTH, mend=MEND)


def read_all(store: PredictionReader) -> dict[str, np.ndarray]:
    """Every row; a damaged one is refused when it is read."""
    return {frame_id: store.read(frame_id) for frame_id in store.frame_ids}


def stored(directory: Path, learner: str = "bts") -> list[str]:
    """Frames whose rows are in shards on disk."""
    expected = identity(learner).description(size=SIZE, max_depth=MAX_DEPTH)
    indices = (read_index(path, expected=expected, mend=MEND) for path in shard_paths(directory))
    return sorted(frame for index in indices for frame in index.frames)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a store but the lock."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.name != "writer.lock"}


def environment() -> dict[str, str]:
    """What a process needs that is to import the package and this module."""
    here = Path(__file__).resolve()
    return {**os.environ, "PYTHONPATH": f"{here.parents[2]}{os.pathsep}{here.parent}"}


@contextmanager
def opens_of(path: Path) -> Iterator[list[str]]:
    """Collects one entry for every time that anybody opens or reads a file (Linux inotify)."""
    libc = ctypes.CDLL(None, use_errno=True)
    in_access, in_open = 0x1, 0x20
    watcher = libc.inotify_init1(os.O_NONBLOCK)
    if watcher < 0 or libc.inotify_add_watch(watcher, os.fsencode(path), in_access | in_open) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    events: list[str] = []
    try:
        yield events
        try:
            events.extend(["opened"] * (len(os.read(watcher, 65536)) // 16))
        except BlockingIOError:
            events.clear()
    finally:
        os.close(watcher)


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


def cache_everything(root: str, count: str, shard_frames: str) -> None:
    """Fill the stores of all learners in one pass, telling what was computed and what was acknowledged."""
    size = int(shard_frames)
    with ExitStack() as stack:
        stores = {
            learner: stack.enter_context(writer(Path(root) / learner, int(count), learner=learner, shard_frames=size))
            for learner in LEARNERS
        }
        told = {learner: set(stored(Path(root) / learner, learner)) for learner in stores}
        wanted = [frame_id for frame_id in frame_ids(int(count)) if any(frame_id not in each for each in told.values())]

        def predict(learner: str, block: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
            tell_acknowledged()
            for frame_id in block:
                say("computed", learner, frame_id)
                time.sleep(0.0005)
                yield frame_id, depth_of(learner, frame_id)

        def tell_acknowledged() -> None:
            for learner in stores:
                on_disk = set(stored(Path(root) / learner, learner))
                for frame_id in sorted(on_disk - told[learner]):
                    say("acknowledged", learner, frame_id)
                told[learner] |= on_disk

        blocks = [wanted[start : start + size] for start in range(0, len(wanted), size)]
        fill_stores(stores, zip(blocks, blocks, strict=True), predict)
        tell_acknowledged()
    say("done")


def race(directory: str) -> None:
    """Wait for the start signal, take the store, and keep it until the input ends."""
    say("ready")
    sys.stdin.readline()
    with writer(Path(directory), 4) as store:
        say("won")
        sys.stdin.read()
        for frame_id in store.missing():
            store.append(frame_id, depth_of("bts", frame_id))


def read_in_workers(directory: str, method: str) -> None:
    """Read rows in workers that were forked from, or spawned by, a process that has read already."""
    store = reader(Path(directory), 20)
    for frame_id in store.frame_ids[:3]:
        store.read(frame_id)
    with multiprocessing.get_context(method).Pool(3) as pool:
        rows = pool.map(store.read, store.frame_ids * 10, chunksize=7)
    expected = [store.read(frame_id) for frame_id in store.frame_ids * 10]
    say("equal" if all(np.array_equal(a, b) for a, b in zip(rows, expected, strict=True)) else "different")


def damaged_shards(directory: Path) -> list[Path]:
    """The shards of a store that are not byte for byte as they were written."""
    return [path for path in shard_paths(directory) if not is_intact(path)]


if __name__ == "__main__":
    {"cache": cache_everything, "race": race, "workers": read_in_workers}[sys.argv[1]](*sys.argv[2:])
