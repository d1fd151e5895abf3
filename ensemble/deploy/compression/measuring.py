"""What files cost: bytes and time; and how right their depth is."""

import statistics
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ensemble.deploy.export.frames import GateImage
from ensemble.deploy.export.write import parts
from ensemble.deploy.runtime.session import Run
from ensemble.metrics.formulas import TABLE_METRICS, image_scores
from ensemble.metrics.statistics import Difference

ZIP_LEVEL = 6
"""Of zlib, as ``zip`` has it."""


class Weighed(NamedTuple):
    """A file on disk.

    Attributes:
        stored: Bytes, with those of the weights where these are another file.
        zipped: The same after zlib.
    """

    stored: int
    zipped: int


def weighed(path: Path) -> Weighed:
    """A file, or the two of OpenVINO."""
    contents = [part.read_bytes() for part in parts(path)]
    return Weighed(sum(map(len, contents)), sum(len(zlib.compress(each, ZIP_LEVEL)) for each in contents))


class Timed(NamedTuple):
    """Processor time of one image on one thread.

    Attributes:
        milliseconds: Median over rounds.
        ratio: Median over rounds of this time over that of the baseline in the same round.
    """

    milliseconds: float
    ratio: float


def timed_in_turn(
    runs: Mapping[str, Callable[[], object]], baselines: Mapping[str, str], *, rounds: int
) -> dict[str, Timed]:
    """Times of files that take turns, so that a busy machine slows all of them alike.

    Args:
        runs: By recipe; each computes one image.
        baselines: What each recipe is held against.
        rounds: Every one runs once a round; the first round is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if turn:
                seconds[name].append(time.process_time() - start)
    return {
        name: Timed(
            1e3 * statistics.median(own),
            statistics.median(mine / theirs for mine, theirs in zip(own, seconds[baselines[name]], strict=True)),
        )
        for name, own in seconds.items()
    }


class Judged(NamedTuple):
    """Depth of a file.

    Attributes:
        scores: Of every image that has depth, [images metrics] in the order of ``TABLE_METRICS``.
        mean_gap: Metres between this depth and that of ``fp32``, over all pixels.
    """

    scores: np.ndarray
    mean_gap: float


def depths_of(run: Run, images: Sequence[GateImage]) -> list[np.ndarray]:
    """Depth [1 1 h w] of every image, in metres."""
    return [np.asarray(run(image.pixels.numpy())["depth"], np.float32) for image in images]


def judged(depths: Sequence[np.ndarray], plain: Sequence[np.ndarray], images: Sequence[GateImage]) -> Judged:
    """Scores of depth over all pixels that have a truth, at the size of the file.

    Raises:
        ValueError: Depth is not finite.
    """
    broken = sum(not np.isfinite(depth).all() for depth in depths)
    if broken:
        raise ValueError(f"its depth of {broken} of {len(depths)} images is not finite; nothing is repaired here")
    rows = []
    for depth, image in zip(depths, images, strict=True):
        if image.depth is not None and image.valid is not None and bool(image.valid.any()):
            found = image_scores(torch.from_numpy(depth), image.depth, image.valid)
            rows.append([float(found[name]) for name in TABLE_METRICS])
    gap = np.mean([np.abs(one - other).mean() for one, other in zip(depths, plain, strict=True)])
    return Judged(np.array(rows).reshape(-1, len(TABLE_METRICS)), float(gap))


class Measured(NamedTuple):
    """All that is known of a recipe's file.

    Attributes:
        recipe: Its name.
        runtime: That computes it.
        weight: On disk.
        nonzero: Weights that are not zero.
        mul_adds: Of one image.
        time: On one thread.
        peak_megabytes: Of a process that runs one image.
        means: Metric -> mean over images; empty where no depth is known.
        against: Metric -> difference from ``fp32``; empty there, of ``fp32`` itself and of fewer than two scenes.
        mean_gap: Metres, of depth from that of ``fp32``.
        note: What must be known of it.
    """

    recipe: str
    runtime: str
    weight: Weighed
    nonzero: int
    mul_adds: int
    time: Timed
    peak_megabytes: float
    means: Mapping[str, float]
    against: Mapping[str, Difference]
    mean_gap: float
    note: str
