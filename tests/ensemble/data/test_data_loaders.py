import os
import signal
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ensemble.data import open_source
from ensemble.data.loaders import FrameDataset, LoaderDiedError, OrderedBatches, TrainingBatches, loader
from ensemble.data.source import RawFrame
from ensemble.settings.schema import AugmentationSettings, DataSettings, RoomsSettings

Draw = tuple[int, int | None]


def settings(**changes: object) -> DataSettings:
    rooms = RoomsSettings(scenes=3, test_scenes=1, frames=4)
    return DataSettings(**{"kind": "rooms", "size": (32, 32), "crop": (20, 28), "rooms": rooms, **changes})


def dataset(data: DataSettings | None = None, *, frames: int = 10) -> FrameDataset:
    data = data or settings()
    source = open_source(data)
    return FrameDataset(source, source.frames[:frames], data)


def epoch(batches: TrainingBatches, number: int) -> list[list[Draw]]:
    batches.set_epoch(number)
    return list(batches)


def assert_equal_batches(left: Sequence[dict], right: Sequence[dict]) -> None:
    assert len(left) == len(right) > 0
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        assert a["frame"] == b["frame"]
        for key in a.keys() - {"frame"}:
            assert a[key].dtype == b[key].dtype
            assert torch.equal(a[key], b[key]), key


def test_an_epoch_takes_every_frame_at_most_once_and_each_epoch_another_order() -> None:
    batches = TrainingBatches(11, 4, seed=1)
    orders = [[index for batch in epoch(batches, number) for index, _ in batch] for number in range(3)]
    assert all(len(order) == len(set(order)) == 8 for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert len(batches) == 2


def test_the_seed_decides_everything() -> None:
    assert epoch(TrainingBatches(12, 4, seed=1), 2) == epoch(TrainingBatches(12, 4, seed=1), 2)
    assert epoch(TrainingBatches(12, 4, seed=1), 2) != epoch(TrainingBatches(12, 4, seed=2), 2)


def test_augmentation_differs_between_frames_and_epochs() -> None:
    batches = TrainingBatches(12, 4, seed=1)
    seeds = [seed for number in range(4) for batch in epoch(batches, number) for _, seed in batch]
    assert len(set(seeds)) == len(seeds) == 48


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 7), st.integers(0, 3))
def test_processes_and_parts_share_the_batch_of_one_process(
    processes: int, accumulate: int, share: int, extra: int, number: int
) -> None:
    size = processes * accumulate * share
    frames = 2 * size + extra
    whole = epoch(TrainingBatches(frames, size, seed=4), number)
    parts = [
        epoch(TrainingBatches(frames, size, 4, accumulate=accumulate, process=rank, processes=processes), number)
        for rank in range(processes)
    ]
    assert {len(part) for part in parts} == {len(whole) * accumulate}
    for step, expected in enumerate(whole):
        dealt = [batch for part in parts for batch in part[step * accumulate : (step + 1) * accumulate]]
        assert {len(batch) for batch in dealt} == {share}
        assert sorted(draw for batch in dealt for draw in batch) == sorted(expected)


def test_a_resumed_epoch_leaves_out_what_was_done_and_the_next_one_nothing() -> None:
    straight, resumed = (TrainingBatches(12, 4, seed=1, accumulate=2) for _ in range(2))
    resumed.resume_at(3, 4)
    assert len(resumed) == len(straight) == 6
    assert epoch(resumed, 3) == epoch(straight, 3)[4:]
    assert epoch(resumed, 4) == epoch(straight, 4)
    assert epoch(resumed, 0) == epoch(straight, 0)


def test_a_batch_that_cannot_be_filled_is_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size is 8, but there are 7 training frames; set .* to 7 or less"):
        TrainingBatches(7, 8, seed=0)


@pytest.mark.parametrize(("accumulate", "processes"), [(3, 1), (1, 3), (4, 4)])
def test_a_batch_that_cannot_be_divided_is_refused(accumulate: int, processes: int) -> None:
    message = f"batch_size 8 must be a multiple of training.accumulate {accumulate} times {processes} processes"
    with pytest.raises(ValueError, match=message):
        TrainingBatches(99, 8, seed=0, accumulate=accumulate, processes=processes)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 4))
def test_ordered_batches_take_every_frame_exactly_once_over_all_processes(
    frames: int, size: int, processes: int
) -> None:
    parts = [OrderedBatches(frames, size, process=rank, processes=processes) for rank in range(processes)]
    drawn = [draw for part in parts for batch in part for draw in batch]
    assert sorted(index for index, _ in drawn) == list(range(frames))
    assert {seed for _, seed in drawn} == {None}
    assert all(len(part) == len(list(part)) for part in parts)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_workers_change_nothing() -> None:
    """Reliability row 21: two epochs of training batches with 0, 2 and 4 loader processes."""
    seen = []
    for workers in (0, 2, 4):
        batches = TrainingBatches(10, 2, seed=6)
        batches_loader = loader(dataset(), batches, workers=workers)
        seen.append([])
        for number in range(2):
            batches.set_epoch(number)
            seen[-1].extend(batches_loader)
    assert_equal_batches(seen[0], seen[1])
    assert_equal_batches(seen[0], seen[2])
    assert not torch.equal(seen[0][0]["image"], seen[0][5]["image"])


@pytest.mark.parametrize("kind", ["training", "validation"])
def test_preloading_changes_nothing(kind: str) -> None:
    """The rooms are rendered at another size than the dataset's, so that images are resized."""
    source, data = open_source(settings(size=(37, 51), crop=None)), settings()
    once, kept = (FrameDataset(source, source.frames[:6], data) for _ in range(2))
    kept.preload()
    draws = [(index, 70 + index if kind == "training" else None) for index in (3, 0, 5)]
    assert_equal_batches([once[draws]], [kept[draws]])
    assert_equal_batches([kept[draws]], [kept[draws]])
    assert kept[draws]["image"].dtype == torch.float32


def test_preloaded_frames_reach_loader_processes() -> None:
    kept = dataset()
    kept.preload()
    shared = list(loader(kept, OrderedBatches(10, 4), workers=2))
    assert_equal_batches(shared, list(loader(dataset(), OrderedBatches(10, 4), workers=0)))


class Rows:
    """Predictions that tell where they come from: metres grow with the column, and with the frame."""

    def __init__(self, offset: float) -> None:
        self.offset = offset

    def read(self, frame_id: str) -> np.ndarray:
        columns = np.linspace(1.0, 2.0, 32, dtype=np.float32) + self.offset + int(frame_id[-1])
        return np.broadcast_to(columns, (32, 32)).copy()


class Ramps:
    """A source whose depth equals the predictions of ``Rows(0)`` and whose red channel shows the column."""

    def __init__(self) -> None:
        self.frames = open_source(settings()).frames

    def read(self, frame: object) -> RawFrame:
        depth = Rows(0.0).read(frame.id)
        red = np.broadcast_to(np.arange(32, dtype=np.uint8) * 8, (32, 32))
        return RawFrame(np.stack([red] * 3, axis=2), depth, np.ones((32, 32), dtype=bool))


def ramps(rotation: float) -> Iterator[dict]:
    augmentation = AugmentationSettings(rotation=rotation, photometric=0.0)
    data = settings(augmentation=augmentation)
    source = Ramps()
    rows = {"one": Rows(0.0), "two": Rows(3.0)}
    frames = FrameDataset(source, source.frames[:4], data, rows)
    for seed in range(40):
        yield frames[[(0, seed), (3, seed + 100)]]


def test_predictions_travel_with_image_and_truth() -> None:
    directions = set()
    for batch in ramps(rotation=0.0):
        assert batch["predictions"].shape == (2, 2, 20, 28)
        assert torch.equal(batch["predictions"][:, :1], batch["depth"])
        assert torch.allclose(batch["predictions"][:, 1], batch["depth"][:, 0] + 3)
        columns = (batch["image"][:, 0, 0] * 255 / 8).round()
        whole = torch.linspace(1.0, 2.0, 32)
        for depth, column, offset in zip(batch["depth"][:, 0, 0], columns, (0, 3), strict=True):
            assert torch.allclose(depth, whole[column.long()] + offset)
            directions.add(bool(column[0] > column[-1]))
    assert directions == {False, True}


def test_predictions_turn_with_the_truth() -> None:
    for batch in ramps(rotation=10.0):
        valid = batch["valid"][:, 0]
        assert torch.equal(batch["predictions"][:, 0][valid], batch["depth"][:, 0][valid])


def test_frames_stand_in_the_order_of_their_draws() -> None:
    frames = dataset()
    batch = frames[[(4, None), (2, None)]]
    assert batch["frame"] == [frames.frames[4].id, frames.frames[2].id]
    assert torch.equal(batch["image"][1], frames.sample(2)["image"])
    assert batch["image"].shape == (2, 3, 32, 32)
    assert batch["depth"].dtype == torch.float32
    assert batch["valid"].dtype == torch.bool


def test_depth_outside_the_range_is_invalid() -> None:
    narrow = dataset(settings(min_depth=1.0, max_depth=2.0))
    sample = narrow.sample(0)
    depth = sample["depth"][sample["valid"]]
    assert 0 < len(depth) < sample["depth"].numel()
    assert depth.min() > 1.0
    assert depth.max() < 2.0


def test_a_loader_process_that_dies_says_so_and_names_what_to_do() -> None:
    batches = loader(dataset(), TrainingBatches(10, 2, seed=0), workers=2)
    iterator = iter(batches)
    next(iterator)
    for worker in batches._iterator._workers:
        os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(LoaderDiedError, match=r"of 2 loader processes died.*--set data\.workers=0"):
        list(iterator)


def test_signals_that_end_this_process_pass_its_loader_processes_by() -> None:
    batches = loader(dataset(), TrainingBatches(10, 2, seed=0), workers=2)
    iterator = iter(batches)
    first = next(iterator)
    for worker in batches._iterator._workers:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(worker.pid, number)
    assert_equal_batches([first, *iterator], list(loader(dataset(), TrainingBatches(10, 2, seed=0), workers=0)))
