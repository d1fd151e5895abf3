"""What decoding frames tells about them, one after the other or on all cores; kept small, so that any number fits."""

import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ensemble.data.copies import Problem, problem_of
from ensemble.data.source import Frame, FrameSource, RawFrame

Border = Literal["white", "black", "none"]

FARTHEST = 10.0
"""Metres: where the sensor's range ends."""

QUANTILES = ("5 %", "25 %", "50 %", "75 %", "95 %")
"""Of the depth of a frame, by the share of its measurements that are nearer."""

_PERCENT = [float(name.removesuffix(" %")) for name in QUANTILES]
_BORDER_PIXELS = 3
_WHITE, _BLACK = 235, 20
_FEW_LEVELS, _SOME_LEVELS = 256, 8
_COARSE_STEP = 0.03
"""Metres. 255 steps over 10 m are 39 mm apart; depth that was measured has levels nearer to each other."""
_ENOUGH_PIXELS = 10_000
_SAMPLED_PIXELS = 50_000
_CHUNK = 16
_WORTH_PROCESSES = 200


class CheckedSource(FrameSource, Protocol):
    """A source that looks at the files of a frame without decoding them."""

    def check(self, frame: Frame) -> None:
        """Raises ``ValueError`` where they are missing, cut short or of a wrong shape."""
        ...


@dataclass(frozen=True)
class Measurements:
    """A decoded frame in numbers; depths in metres, absent where no pixel has a measurement.

    Attributes:
        size: Height and width.
        holes: Share of pixels without a measurement.
        beyond: Share of the measurements from a largest depth on.
        coarse: Whether depth has the steps of 8 bits over the whole range; absent where too few pixels say so.
        digest: Equal for equal images.
    """

    size: tuple[int, int]
    nearest: float | None
    median: float | None
    farthest: float | None
    holes: float
    beyond: float
    coarse: bool | None
    border: Border
    digest: bytes
    quantiles: tuple[float, ...] | None = None  # of ``QUANTILES``


@dataclass(frozen=True)
class Examined:
    """A frame that was looked at: why it cannot be used, or what decoding it gave, if it was decoded."""

    frame: Frame
    problem: Problem | None = None
    measured: Measurements | None = None


def examine(source: CheckedSource, frame: Frame, *, decode: bool, farthest: float = FARTHEST) -> Examined:
    """Looks whether a frame's files are whole, and what they hold."""
    try:
        if not decode:
            source.check(frame)
            return Examined(frame)
        return Examined(frame, measured=measure(source.read(frame), farthest))
    except ValueError as error:
        return Examined(frame, problem=problem_of(error))


def measure(raw: RawFrame, farthest: float = FARTHEST) -> Measurements:
    """The numbers of a frame; measurements from ``farthest`` metres on are counted."""
    known = raw.depth[raw.valid]
    border = np.ones(raw.depth.shape, bool)
    border[_BORDER_PIXELS:-_BORDER_PIXELS, _BORDER_PIXELS:-_BORDER_PIXELS] = False
    brightness = float(raw.image[border].mean())
    sampled = known[:: max(1, known.size // _SAMPLED_PIXELS)]
    return Measurements(
        size=(raw.depth.shape[0], raw.depth.shape[1]),
        nearest=float(known.min()) if known.size else None,
        median=float(np.median(known)) if known.size else None,
        farthest=float(known.max()) if known.size else None,
        holes=1 - known.size / raw.depth.size,
        beyond=float((known >= farthest).mean()) if known.size else 0.0,
        coarse=_is_coarse(np.unique(sampled)) if known.size >= _ENOUGH_PIXELS else None,
        border="white" if brightness > _WHITE else "black" if brightness < _BLACK else "none",
        digest=hashlib.blake2b(raw.image.tobytes(), digest_size=16).digest(),
        quantiles=tuple(np.percentile(sampled, _PERCENT).tolist()) if known.size else None,
    )


def _is_coarse(levels: np.ndarray) -> bool | None:
    """Whether ascending depths lie as far apart as 8 bits over 10 m; absent where they are too few to say so."""
    if len(levels) < _SOME_LEVELS:
        return None
    return len(levels) <= _FEW_LEVELS and float(np.diff(levels).min()) >= _COARSE_STEP


def examine_all(
    source: CheckedSource,
    tasks: Sequence[tuple[Frame, bool]],
    *,
    workers: int | None = None,
    on_frame: Callable[[int, int], None] | None = None,
    farthest: float = FARTHEST,
) -> Iterator[Examined]:
    """Examines many frames, decoding those that say so, in their order and on all cores where that pays.

    ``on_frame`` is called with the number of frames examined and the number to examine; measurements from
    ``farthest`` metres on are counted.

    Raises:
        ValueError: A process was killed, most likely because the memory was full.
    """
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    together = workers > 1 and sum(decode for _, decode in tasks) >= _WORTH_PROCESSES
    alone = (examine(source, frame, decode=decode, farthest=farthest) for frame, decode in tasks)
    results = _in_processes(source, tasks, workers, farthest) if together else alone
    for done, examined in enumerate(results, start=1):
        if on_frame:
            on_frame(done, len(tasks))
        yield examined


def _in_processes(
    source: CheckedSource, tasks: Sequence[tuple[Frame, bool]], workers: int, farthest: float
) -> Iterator[Examined]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_receive, initargs=(source, farthest)) as pool:
        try:
            yield from pool.map(_examine_received, tasks, chunksize=_CHUNK)
        except BrokenProcessPool as error:
            raise ValueError(
                "a process that decodes frames was killed, most likely for memory; run with fewer --workers"
            ) from error


_received: list[tuple[CheckedSource, float]] = []
"""In a process of the pool: the source and its largest depth, sent once and not with every chunk."""


def _receive(source: CheckedSource, farthest: float) -> None:
    _received[:] = [(source, farthest)]


def _examine_received(task: tuple[Frame, bool]) -> Examined:
    source, farthest = _received[0]
    return examine(source, task[0], decode=task[1], farthest=farthest)
