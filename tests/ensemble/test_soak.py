"""Reliability row 22: memory and open files stay what they were, over many items, processes and epochs."""

import gc
import multiprocessing
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import cache_samples as samples
import numpy as np
import pytest
import torch

from ensemble.data import open_source
from ensemble.data.loaders import FrameDataset, TrainingBatches, loader
from ensemble.data.packs.writing import write_pack
from ensemble.data.rooms.source import write_rooms
from ensemble.settings.schema import DataSettings, RoomsSettings

SIZE = (36, 48)
"""Three times that of the rows; the smallest that settings allow is 32."""

Measured = tuple[int, int, int]
"""Resident bytes, open files, and handles on their way: shared memory of tensors, and sockets that they go through."""

MOST_ON_THEIR_WAY = 4 * (2 + 1) + 3
"""Image, depth, mask and predictions of a batch; PyTorch fetches two batches ahead, and a process works on a third. One
socket listens, one is accepted, one is about to close."""


class Watched(FrameDataset):
    """Frames from a pack together with cached rows; tells what the process that reads them holds."""

    def __getitem__(self, draws: Any) -> Any:
        batch = super().__getitem__(draws)
        return {**batch, "process": os.getpid(), "measured": measure()}


def measure() -> Measured:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    opened: list[str] = []
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # another thread of the loader has closed it since it was listed
            opened.append(str(handle.readlink()))
    moving = sum(each.startswith(("/dev/shm/", "socket:")) for each in opened)
    return pages * os.sysconf("SC_PAGE_SIZE"), len(opened) - moving, moving


def watched_dataset(folder: Path, items: int) -> Watched:
    """So many items over the frames of a small pack, with predictions of two learners."""
    write_rooms(folder / "copy", RoomsSettings(scenes=10, test_scenes=1, frames=4), SIZE)
    write_pack(folder / "copy", folder / "pack", full=False, shard_frames=8)
    data = DataSettings(kind="nyu", root=folder / "pack", size=SIZE, crop=(24, 36), test="held-out")
    source = open_source(data)
    frames = [frame for frame in source.frames if frame.split == "train"]
    rows = {}
    for learner in ("adabins", "bts"):
        samples.fill(folder / learner, 40, learner=learner)
        ids = dict(zip((frame.id for frame in frames), samples.frame_ids(40), strict=True))
        rows[learner] = Renamed(samples.reader(folder / learner, 40, learner=learner), ids)
    return Watched(source, [frames[index % len(frames)] for index in range(items)], data, rows)


class Renamed:
    """Rows of one list of frames for the frames of another."""

    def __init__(self, rows: Any, names: dict[str, str]) -> None:
        self.rows, self.names = rows, names

    def read(self, frame_id: str) -> np.ndarray:
        return np.kron(self.rows.read(self.names[frame_id]), np.ones((3, 3), np.float32))


def check_soak(folder: Path, *, items: int, workers: int, epochs: int, growth: float) -> None:
    dataset = watched_dataset(folder, items)
    batches = TrainingBatches(items, 20, seed=0)
    held = measure()[2]  # of this process, by tests before this one
    fetched = loader(dataset, batches, workers=workers)
    told: dict[int, list[Measured]] = {}
    own: list[Measured] = []
    seen = 0
    for number in range(epochs):
        batches.set_epoch(number)
        for batch in fetched:
            seen += len(batch["frame"])
            told.setdefault(int(batch["process"]), []).append(tuple(int(value) for value in batch["measured"]))
            del batch
        gc.collect()
        own.append(measure())
    assert seen == items * epochs
    assert len(told) == max(workers, 1)
    for measured, before in [*((each, 0) for each in told.values()), (own, held)]:
        settled = measured[len(measured) // 3 :]  # the first epoch opens every file and warms up every allocator
        first, last = settled[0], settled[-1]
        assert last[0] <= first[0] * (1 + growth), f"resident memory grew from {first[0]} to {last[0]} bytes"
        assert last[1] <= max(files for _, files, _ in settled[: max(1, len(settled) // 2)]), "open files grew"
        assert max(moving for _, _, moving in measured) - before <= MOST_ON_THEIR_WAY, "handles on their way pile up"
    if workers:
        assert multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_short_soak_grows_nothing(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    check_soak(tmp_path, items=600, workers=2, epochs=3, growth=0.02)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_long_soak_grows_nothing(tmp_path: Path) -> None:
    """10,000 items, 4 processes, 3 epochs."""
    check_soak(tmp_path, items=10_000, workers=4, epochs=3, growth=0.02)
