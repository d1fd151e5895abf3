"""From frames to batches: order and augmentation follow from (seed, epoch, position) alone.

Nothing here keeps state. A run that goes on in the middle of an epoch asks for the batches after the last one that it
trained on and gets exactly those that it would have got, whatever the number of loader processes.
"""

import multiprocessing
import multiprocessing.context
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from ensemble.data.source import Frame, FrameSource, RowSource
from ensemble.data.transforms import pixels_at_size, unit_image, valid_depth
from ensemble.data.unlabelled import check_dealt
from ensemble.runs.stopping import SIGNALS, Stopped, stop_asked
from ensemble.settings.schema import DataSettings
from ensemble.settings.trees import SettingsError

Batch = dict[str, Any]
"""``image`` [b 3 h w], ``depth`` [b 1 h w] metres, ``valid`` [b 1 h w], ``frame`` (b ids), maybe ``predictions``."""


KeptFrames = dict[str, dict[str, Tensor]]
"""Decoded frames of several datasets of one process, by what decides them."""


class DepthRows(Protocol):
    """Cached depth of one learner, read by frame id."""

    def read(self, frame_id: str) -> np.ndarray:
        """Depth [h w] in metres."""
        ...


class FrameDataset(Dataset[Batch]):
    """Whole frames, or augmented crops of them.

    Args:
        frames: What may be read; nothing else ever is.
        predictions: Cached depth per learner, cropped and flipped together with image and truth.
    """

    def __init__(
        self,
        source: FrameSource,
        frames: Sequence[Frame],
        settings: DataSettings,
        predictions: Mapping[str, DepthRows] | None = None,
    ) -> None:
        self.source = source
        self.frames = tuple(frames)
        self.settings = settings
        self.predictions = dict(predictions or {})
        self._kept: dict[str, Tensor] = {}
        self._row_source = source if isinstance(source, RowSource) and source.size == tuple(settings.size) else None

    def __len__(self) -> int:
        return len(self.frames)

    def preload(self, kept: KeptFrames | None = None) -> None:
        """Decode every frame once and keep it; loader processes share what is kept.

        Images are resized in 8 bits and kept so. One tensor holds all frames, because every tensor that is shared
        with a process costs an open file. What other datasets have decoded is in ``kept``: the same frames are taken
        from there, others are added.
        """
        if kept is not None:
            decided = self.settings.model_dump_json(
                include={
                    "kind",
                    "root",
                    "size",
                    "min_depth",
                    "max_depth",
                    "rooms",
                    "folder",
                    "kitti",
                    "split_seed",
                    "test",
                }
            )
            key = "\n".join((decided, *(frame.id for frame in self.frames)))
            if key not in kept:
                self.preload()
                kept[key] = self._kept
            self._kept = kept[key]
            return
        for index in range(len(self)):
            sample = self.decoded(index)
            if not self._kept:
                self._kept = {key: values.new_empty((len(self), *values.shape)) for key, values in sample.items()}
            for key, values in sample.items():
                self._kept[key][index] = values

    def sample(self, index: int) -> dict[str, Tensor]:
        """A whole frame at the working size, with the learners' predictions where there are any."""
        sample = self._with_predictions(index)
        return {**sample, "image": unit_image(sample["image"])}

    def __getitem__(self, draws: Sequence[tuple[int, int | None]]) -> Batch:
        """A batch of (index, seed of the augmentation) pairs; a frame without a seed is left as it is."""
        samples = [self.sample(index) if seed is None else self._augmented(index, seed) for index, seed in draws]
        # The collation of torch puts a batch straight into memory that loader processes share.
        batch: Batch = {key: default_collate([sample[key] for sample in samples]) for key in samples[0]}
        batch["frame"] = [self.frames[index].id for index, _ in draws]
        return batch

    def _augmented(self, index: int, seed: int) -> dict[str, Tensor]:
        """A changed frame, of which no more is read than the change needs."""
        from ensemble.data.augmentation import changed, draw_change  # OpenCV, which only training needs

        change = draw_change(self.settings, np.random.default_rng(seed))
        rows = change.area_read(self.settings.size).slices[0]
        return changed(self._with_predictions(index, rows), change)

    def _with_predictions(self, index: int, rows: slice | None = None) -> dict[str, Tensor]:
        kept = {key: values[index] for key, values in self._kept.items()}
        sample = kept or self.decoded(index, rows)
        frame = self.frames[index]
        if self.predictions:
            predicted = [torch.from_numpy(each.read(frame.id)) for each in self.predictions.values()]
            sample["predictions"] = torch.stack(predicted)
        return sample

    def decoded(self, index: int, rows: slice | None = None) -> dict[str, Tensor]:
        """A frame of the working size, its image in 8 bits; other rows than those asked for may be empty."""
        frame, size = self.frames[index], self.settings.size
        if rows is None or self._row_source is None:
            raw = self.source.read(frame)
        else:
            raw = self._row_source.read_rows(frame, rows)
        sample = pixels_at_size(raw, size)
        inside = valid_depth(sample["depth"], self.settings.min_depth, self.settings.max_depth)
        return {**sample, "valid": sample["valid"] & inside}


class TrainingBatches(Sampler[list[tuple[int, int | None]]]):
    """Batches of one epoch after another: a new permutation each, equal for every number of processes.

    The seed decides permutations and augmentation. A step takes ``batch_size`` frames. They are dealt to ``processes``
    in turn, and those of a process are divided into ``accumulate`` batches. Frames that do not fill a step are left out
    of this epoch.

    Raises:
        ValueError: A step cannot be filled, or cannot be divided.
    """

    def __init__(
        self, frames: int, batch_size: int, seed: int, *, accumulate: int = 1, process: int = 0, processes: int = 1
    ) -> None:
        if batch_size > frames:
            raise SettingsError(
                f"training.batch_size is {batch_size}, but there are {frames} training frames; "
                f"set training.batch_size to {frames} or less"
            )
        if batch_size % (accumulate * processes):
            raise ValueError(
                f"training.batch_size {batch_size} must be a multiple of "
                f"training.accumulate {accumulate} times {processes} processes"
            )
        self.frames, self.batch_size, self.seed, self.accumulate = frames, batch_size, seed, accumulate
        self.process, self.processes = process, processes
        self.epoch = 0
        self._resume_at = (0, 0)

    def __len__(self) -> int:
        return self.frames // self.batch_size * self.accumulate

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation; the trainer calls this before every epoch."""
        self.epoch = epoch

    def resume_at(self, epoch: int, batch: int) -> None:
        """Leave out the first batches of one epoch, because a run that goes on has trained on them."""
        self._resume_at = (epoch, batch)

    def __iter__(self) -> Iterator[list[tuple[int, int | None]]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.frames)
        first = self._resume_at[1] if self.epoch == self._resume_at[0] else 0
        for batch in range(first, len(self)):
            yield self._draws(order, batch)

    def _draws(self, order: np.ndarray, batch: int) -> list[tuple[int, int | None]]:
        step, part = divmod(batch, self.accumulate)
        start = step * self.batch_size
        mine = range(start + self.process, start + self.batch_size, self.processes)
        share = len(mine) // self.accumulate
        own = mine[part * share : (part + 1) * share]
        seeds = (np.random.SeedSequence([self.seed, self.epoch, at]).generate_state(1, np.uint64)[0] for at in own)
        return [(int(order[at]), int(seed)) for at, seed in zip(own, seeds, strict=True)]


class MixedBatches(TrainingBatches):
    """Batches in which a part of every step are frames without depth, which stand last among the frames.

    The others make the epochs. Those without depth follow each other in permutations of their own, which epochs do not
    cut; every batch has some with depth.

    Args:
        unlabelled: How many of the frames have no depth.
        each_step: How many of them a step takes.

    Raises:
        ValueError: As ``TrainingBatches``, of either part of a step.
    """

    def __init__(
        self,
        frames: int,
        batch_size: int,
        seed: int,
        *,
        unlabelled: int,
        each_step: int,
        accumulate: int = 1,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        check_dealt(each_step, batch_size, accumulate=accumulate, processes=processes)
        with_depth = batch_size - each_step
        super().__init__(
            frames - unlabelled, with_depth, seed, accumulate=accumulate, process=process, processes=processes
        )
        self.unlabelled, self.each_step, self.processes = unlabelled, each_step, processes

    def _draws(self, order: np.ndarray, batch: int) -> list[tuple[int, int | None]]:
        step, part = divmod(batch, self.accumulate)
        share = self.each_step // (self.processes * self.accumulate)
        first = (self.epoch * (len(self) // self.accumulate) + step) * self.each_step
        mine = range(first + self.process, first + self.each_step, self.processes)[part * share : (part + 1) * share]
        return [*super()._draws(order, batch), *(self._without_depth(at) for at in mine)]

    def _without_depth(self, at: int) -> tuple[int, int]:
        """The frame at a place of the endless order of those without depth, and the seed of its augmentation."""
        cycle, place = divmod(at, self.unlabelled)
        order = np.random.default_rng([self.seed, cycle, 1]).permutation(self.unlabelled)
        seed = np.random.SeedSequence([self.seed, at, 1, 1]).generate_state(1, np.uint64)[0]
        return self.frames + int(order[place]), int(seed)


class OrderedBatches(Sampler[list[tuple[int, int | None]]]):
    """Every frame once, in order, without augmentation; processes take turns and none gets a frame twice."""

    def __init__(self, frames: int, batch_size: int, *, process: int = 0, processes: int = 1) -> None:
        self.mine = range(process, frames, processes)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.mine) // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int | None]]]:
        for start in range(0, len(self.mine), self.batch_size):
            yield [(index, None) for index in self.mine[start : start + self.batch_size]]


def affordable_workers(asked: int) -> int:
    """As many loader processes as were asked for, but no more than there are cores."""
    return min(asked, os.cpu_count() or 1)


class LoaderDiedError(OSError):
    """A loader process is gone, and with it the batches that it was to bring."""


class BatchLoader(DataLoader[Batch]):
    """A loader whose processes die with a message that says what to do."""

    def __iter__(self) -> Any:
        """The batches.

        Raises:
            LoaderDiedError: A loader process was killed.
            Stopped: It was killed by a signal that this process has got as well.
        """
        batches = super().__iter__()  # begins to load
        return _watched(batches, getattr(batches, "_workers", ()))


def _watched(batches: Iterator[Batch], workers: Sequence[BaseProcess]) -> Iterator[Batch]:
    try:
        yield from batches
    except (RuntimeError, OSError, EOFError) as error:
        connection.wait([worker.sentinel for worker in workers], timeout=1.0)  # its pipes end before it counts as dead
        dead = sum(not worker.is_alive() for worker in workers)
        if not dead:
            raise
        if number := stop_asked():
            raise Stopped(number) from error
        raise LoaderDiedError(
            f"{dead} of {len(workers)} loader processes died, most likely because the memory or /dev/shm was full. "
            "The same command goes on; with --set data.workers=0 (base cache: --workers 0) no further process is needed"
        ) from error


def loader(dataset: FrameDataset, batches: Sampler[list[tuple[int, int | None]]], *, workers: int) -> BatchLoader:
    """A loader that fetches whole batches; ``workers`` processes change its speed and nothing else."""
    return BatchLoader(
        dataset,
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context=_deaf_processes() if workers else None,
        pin_memory=torch.cuda.is_available(),
    )


def _deaf_processes() -> multiprocessing.context.ForkServerContext:
    """Processes that signals to end pass by: a terminal, ``timeout`` or Slurm signals them together with this one.

    They are needed until this process has come to a place where it can stop, and end when it does.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once, not once a worker
    resource_tracker.ensure_running()  # unblocks signals where it has to be started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        forkserver.ensure_running()  # it and its children inherit what is blocked
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context
