"""Reading predictions: checked for cover and origin when a reader is made, for damage whenever a row is read."""

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from h5py import h5d  # pyright: ignore[reportAttributeAccessIssue]
from jaxtyping import Float

from ensemble.predictions.store.identity import CacheError, CacheIdentity, check_frames, without_rebuild
from ensemble.predictions.store.shards import (
    PARSE_ERRORS,
    ShardIndex,
    damaged,
    metres,
    open_shard,
    read_index,
    refuse_stale,
    row_checksum,
    shard_paths,
)
from ensemble.runs.refusals import refuse_unreadable

_OPEN_FILES = 32


class _Row(NamedTuple):
    """Where a row stands."""

    path: Path
    number: int
    offset: int | None
    checksum: int


@dataclass(eq=False, repr=False)
class PredictionReader:
    """The rows of one store, each of the frames that it must hold exactly once.

    A reader can be pickled and used after a fork: every process opens the files for itself when it first reads.
    """

    directory: Path
    identity: CacheIdentity
    frame_ids: Sequence[str]  # every frame that the store must hold, and no other
    _: KW_ONLY
    size: tuple[int, int]  # height and width of a row
    max_depth: float  # metres; the largest depth that could be stored
    mend: str  # the command that fills the store; it ends every complaint, with ``--rebuild`` where that is needed

    def __post_init__(self) -> None:
        """Look through all shards without reading depth.

        Raises:
            StaleCacheError: A shard was made from something else; both sides of every difference are named.
            CacheError: Rows are missing, doubled or foreign, or a shard cannot be read or points outside of itself.
        """
        check_frames(self.frame_ids, where=str(self.directory))
        self.frame_ids, self.size = tuple(self.frame_ids), (self.size[0], self.size[1])
        self.mend = without_rebuild(self.mend)
        self._rows: dict[str, _Row] = {}
        self._handles: OrderedDict[Path, tuple[h5py.File, h5py.Dataset]] = OrderedDict()
        self._handles_pid = os.getpid()
        self._levels = np.empty(self.size, "<u2")
        expected = self.identity.description(size=self.size, max_depth=self.max_depth)
        known = frozenset(self.frame_ids)
        for path in shard_paths(self.directory):
            index = read_index(path, expected=expected, mend=self.mend)
            refuse_stale(index, expected, mend=self.mend)
            self._add(index, known)
        self._check_cover()

    def read(self, frame_id: str) -> Float[np.ndarray, "h w"]:
        """Depth of one frame in metres, float32.

        Raises:
            UnreadableError: The system refuses to read its shard.
            CacheError: The frame is unknown, or its row is not as it was written.
        """
        if frame_id not in self._rows:
            raise CacheError(f"{self.directory}: frame {frame_id} is not in the list of {len(self._rows)} frames")
        row = self._rows[frame_id]
        try:
            self._read_plain(row.path, row.offset) if row.offset is not None else self._read_compressed(row)
        except PARSE_ERRORS as error:
            self._close(row.path)
            refuse_unreadable(row.path, error)
            raise damaged(row.path, f"the row of frame {frame_id} cannot be read ({error})", mend=self.mend) from error
        if row_checksum(frame_id, self._levels) != row.checksum:
            self._close(row.path)
            raise damaged(row.path, f"the row of frame {frame_id} does not fit its checksum", mend=self.mend)
        return metres(self._levels, max_depth=self.max_depth)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handles": OrderedDict()}

    def _read_plain(self, path: Path, offset: int) -> None:
        """A row that lies in the file as in memory, where opening HDF5 would cost more; not checked yet."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            count = os.preadv(descriptor, [self._levels.data], offset)
        finally:
            os.close(descriptor)
        if count != self._levels.nbytes:
            raise CacheError(f"it ends after {count} of {self._levels.nbytes} bytes")

    def _read_compressed(self, row: _Row) -> None:
        self._depth(row.path).read_direct(self._levels, np.s_[row.number])

    def _depth(self, path: Path) -> h5py.Dataset:
        if self._handles_pid != os.getpid():
            self._handles, self._handles_pid = OrderedDict(), os.getpid()
        if path in self._handles:
            self._handles.move_to_end(path)
            return self._handles[path][1]
        if len(self._handles) >= _OPEN_FILES:
            self._close(next(iter(self._handles)))
        file = open_shard(path, mend=self.mend)
        depth = h5py.Dataset(h5d.open(file.id, b"depth"))
        if depth.shape[1:] != self.size:
            file.close()
            raise CacheError(f"rows of {depth.shape[1:]} pixels, expected {self.size}; replaced since it was checked")
        self._handles[path] = (file, depth)
        return depth

    def _close(self, path: Path) -> None:
        """Let go of a file; HDF5 would otherwise answer from what it remembers of it, mended or not."""
        if path in self._handles:
            self._handles.pop(path)[0].close()

    def _add(self, index: ShardIndex, known: frozenset[str]) -> None:
        offsets = index.offsets or (None,) * len(index.frames)
        rows = enumerate(zip(index.frames, index.crc32, offsets, strict=True))
        for number, (frame_id, checksum, offset) in rows:
            if frame_id not in known:
                raise CacheError(
                    f"{index.path}: frame {frame_id} is not among the {len(known)} frames asked for.\n"
                    f"Run: {self.mend} --rebuild"
                )
            if frame_id in self._rows:
                raise CacheError(
                    f"{index.path}: frame {frame_id} is doubled, it stands in {self._rows[frame_id].path} as well.\n"
                    f"Run: {self.mend} --rebuild"
                )
            self._rows[frame_id] = _Row(index.path, number, offset, int(checksum))

    def _check_cover(self) -> None:
        missing = [frame_id for frame_id in self.frame_ids if frame_id not in self._rows]
        if missing:
            raise CacheError(
                f"{self.directory}: {len(missing)} of {len(self.frame_ids)} {self.identity.role} frames have no "
                f"prediction (first: {missing[0]}).\nRun: {self.mend}"
            )
