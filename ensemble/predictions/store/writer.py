"""Writing predictions so that a killed process loses at most the shard it was working on."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float, UInt16

from ensemble.predictions.store.identity import CacheError, CacheIdentity, check_frames, without_rebuild
from ensemble.predictions.store.shards import (
    CODECS,
    LEVELS,
    damaged,
    is_intact,
    quantise,
    read_index,
    refuse_stale,
    shard_bytes,
    shard_paths,
)
from ensemble.runs import files
from ensemble.runs.locks import StoreLock


@dataclass(eq=False, repr=False)
class PredictionWriter:
    """Fills one store, a folder of shards, from wherever an earlier writer stopped; use it in a ``with`` block.

    Rows gather in memory until a shard of ``shard_frames`` is full or the block ends without an error. Then the shard
    is written under another name, flushed to disk and renamed, and only then do its rows count as stored.

    """

    directory: Path
    identity: CacheIdentity
    frame_ids: Sequence[str]  # every frame that the store is to hold, in order
    _: KW_ONLY
    size: tuple[int, int]  # height and width of a row
    max_depth: float  # metres; the largest depth that can be stored
    shard_frames: int = 64
    codec: str = "none"  # of new rows, a key of ``CODECS``
    rebuild: bool = False  # remove the shards that are there, whatever they were made from
    mend: str  # the command line that fills this store, for messages

    def __post_init__(self) -> None:
        check_frames(self.frame_ids, where=str(self.directory))
        if self.shard_frames < 1:
            raise ValueError(f"{self.directory}: shard_frames is {self.shard_frames}, expected at least 1")
        if self.codec not in CODECS:
            raise ValueError(f"{self.directory}: codec {self.codec} is unknown; expected one of {', '.join(CODECS)}")
        if not 0 < self.max_depth < float("inf"):
            raise ValueError(f"{self.directory}: max_depth is {self.max_depth} m, expected a positive finite depth")
        self.frame_ids, self.size = tuple(self.frame_ids), (self.size[0], self.size[1])
        self.mend = without_rebuild(self.mend)
        self._description = self.identity.description(size=self.size, max_depth=self.max_depth)
        self._known = frozenset(self.frame_ids)
        self._stored: set[str] = set()
        self._pending: dict[str, UInt16[np.ndarray, "h w"]] = {}
        self._lock = StoreLock(self.directory)
        self._open = False
        self._number = 0

    def is_complete(self) -> bool:
        """Whether every row is there and sound, found without taking the store; a rebuild is never complete.

        Raises:
            StaleCacheError: The rows were made from something else.
            DamagedCacheError: A shard is not as it was written.
        """
        return not self.rebuild and self._frames_on_disk() == self._known

    def __enter__(self) -> "PredictionWriter":
        """Take the store, clear away what a killed writer left, and see which rows are there.

        Raises:
            LockedError: Another process is writing it.
            StaleCacheError: Its rows were made from something else.
            DamagedCacheError: A shard is not as it was written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            if self.rebuild:
                for path in shard_paths(self.directory):
                    path.unlink()
            self._stored = self._frames_on_disk()
        except BaseException:
            self._lock.release()
            raise
        self._open, self._number = True, 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit what is pending, unless an error ends the block, and give the store back."""
        try:
            if error is None:
                self.commit()
        finally:
            self._open = False
            self._pending.clear()
            self._lock.release()

    def missing(self) -> list[str]:
        """Frames that are neither stored nor pending, in the order of ``frame_ids``."""
        return [
            frame_id for frame_id in self.frame_ids if frame_id not in self._stored and frame_id not in self._pending
        ]

    def append(self, frame_id: str, depth: Float[np.ndarray, "h w"]) -> None:
        """Add the float32 metres of one frame of ``missing()``; the shard is committed when this row fills it.

        Raises:
            CacheError: The frame is unknown or doubled, or its depth is not what a row can hold.
        """
        if not self._open:
            raise CacheError(f"{self.directory}: append outside of the writer's with block")
        if frame_id not in self._known:
            raise CacheError(f"{self.directory}: frame {frame_id} is not in the list of {len(self._known)} frames")
        if frame_id in self._stored or frame_id in self._pending:
            raise CacheError(f"{self.directory}: frame {frame_id} has a row already; append only missing() frames")
        self._check_depth(frame_id, depth)
        self._pending[frame_id] = quantise(depth, max_depth=self.max_depth)
        if len(self._pending) >= self.shard_frames:
            self.commit()

    def commit(self) -> None:
        """Write the pending rows as a shard; when this returns they are safely on disk.

        Raises:
            OSError: The disk is full or refuses; the rows stay pending and no part of them has a shard's name.
        """
        if not self._pending:
            return
        frame_ids, rows = list(self._pending), list(self._pending.values())
        content = shard_bytes(self._description, frame_ids, rows, codec=self.codec)
        files.write_bytes(self._next_path(), content)
        self._stored.update(self._pending)
        self._pending.clear()

    def _check_depth(self, frame_id: str, depth: np.ndarray) -> None:
        where = f"{self.directory}: frame {frame_id}"
        if depth.dtype != np.float32 or depth.shape != self.size:
            raise CacheError(f"{where}: depth is {depth.dtype} {depth.shape}, expected float32 {self.size} in metres")
        bad = int(np.count_nonzero(~np.isfinite(depth)))
        if bad:
            raise CacheError(f"{where}: {bad} of {depth.size} pixels are NaN or infinite; expected finite metres")
        quantum = self.max_depth / LEVELS
        outside = int(np.count_nonzero((depth < -quantum) | (depth > self.max_depth + quantum)))
        if outside:
            raise CacheError(
                f"{where}: {outside} of {depth.size} pixels lie outside of 0 .. {self.max_depth} m "
                f"(found {depth.min():.6g} .. {depth.max():.6g}); the learner must keep to its max_depth, in metres"
            )

    def _next_path(self) -> Path:
        while (path := self.directory / f"shard-{self._number:05d}.h5").exists():
            self._number += 1
        return path

    def _frames_on_disk(self) -> set[str]:
        stored: set[str] = set()
        for path in shard_paths(self.directory):
            if not is_intact(path):
                raise damaged(path, "its bytes do not fit its checksum", mend=self.mend)
            index = read_index(path, expected=self._description, mend=self.mend)
            refuse_stale(index, self._description, mend=self.mend)
            wrong = [frame_id for frame_id in index.frames if frame_id not in self._known or frame_id in stored]
            if wrong:
                raise CacheError(
                    f"{path}: {len(wrong)} rows are doubled or not in the list of frames (first: {wrong[0]}).\n"
                    f"Run: {self.mend} --rebuild"
                )
            stored.update(index.frames)
        return stored
