"""How long networks take for many images, one after the other: mean and deviation, for learners and for whole stacks.

Source: the test of DPT and AdaBins on 400 images of 384x384 in a state of the art of depth networks.
"""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from ensemble.console import progress
from ensemble.settings.kinds import COPY, facts_of
from ensemble.settings.layers import learners_to_stack
from ensemble.settings.schema import ImageSize
from ensemble.training.cost import (
    BYTES_PER_PARAMETER,
    count_mul_adds,
    count_parameters,
    measured_networks,
    profile_choice,
    wait_for,
)

UNTIMED = 3
"""Images before the first that is timed."""


@dataclass(frozen=True)
class Speed:
    """What a network, or all networks of a stack one after the other, took for a number of images.

    Attributes:
        learner: Name that the command line knows it by.
        milliseconds: Mean over the images; ``frames_per_second`` is its inverse.
        deviation: Standard deviation over the images, in milliseconds.
    """

    learner: str
    title: str
    parameters: int
    megabytes: float
    mul_adds: int
    milliseconds: float
    deviation: float
    frames_per_second: float
    images: int
    size: ImageSize
    device: str


def speed_rows(
    learner: str | None, size: ImageSize | None, *, images: int, device: str, config: Path | None = None
) -> list[Speed]:
    """One learner, or every learner, the meta-learner, and the stack that is weighed where nobody names learners.

    Settings and sizes are those of ``profile_rows``. A stack takes what its learners and its meta-learner took for the
    same image together. Images are random numbers, made before each is timed.

    Raises:
        ValueError: Fewer than two images, which have no deviation, or a device that is not there.
    """
    if images < 2:
        raise ValueError(f"--images {images}: expected at least 2, whose times have a deviation")
    choice = profile_choice(device, config)
    rows: list[Speed] = []
    times: dict[str, list[float]] = {}
    for name, title, network, channels, _, own in measured_networks(learner, choice):
        seen = size or own or facts_of(COPY).frame
        times[name] = image_seconds(network, seen, images=images, device=device, channels=channels, title=title)
        parameters, mul_adds = count_parameters(network), count_mul_adds(network, seen, channels=channels)
        rows.append(_row(name, title, parameters, mul_adds, times[name], seen, device))
    if learner is None:
        parts = [row for row in rows if row.learner in (*learners_to_stack(choice), "meta-rgb+d")]
        together = [sum(each) for each in zip(*(times[part.learner] for part in parts), strict=True)]
        parameters, mul_adds = sum(part.parameters for part in parts), sum(part.mul_adds for part in parts)
        title = f"stack rgb+d of {len(parts) - 1} learners"
        rows.append(_row("stack-rgb+d", title, parameters, mul_adds, together, parts[-1].size, device))
    return rows


def image_seconds(
    network: nn.Module, size: ImageSize, *, images: int, device: str, channels: int = 3, title: str = ""
) -> list[float]:
    """Seconds that a network takes for each of some random images, batch 1, after a few that are not timed."""
    network = network.to(device).eval()
    generator = torch.Generator().manual_seed(0)
    seconds = []
    with torch.inference_mode():
        for index in progress(range(UNTIMED + images), title or "images"):
            image = torch.rand(1, channels, *size, generator=generator).to(device)
            wait_for(image.device)
            start = time.perf_counter()
            network(image)
            wait_for(image.device)
            if index >= UNTIMED:
                seconds.append(time.perf_counter() - start)
    return seconds


def speed_json(rows: Sequence[Speed]) -> str:
    """A list with one object per network."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def _row(
    name: str, title: str, parameters: int, mul_adds: int, seconds: Sequence[float], size: ImageSize, device: str
) -> Speed:
    mean = 1e3 * statistics.fmean(seconds)
    return Speed(
        learner=name,
        title=title,
        parameters=parameters,
        megabytes=BYTES_PER_PARAMETER * parameters / 1e6,
        mul_adds=mul_adds,
        milliseconds=mean,
        deviation=1e3 * statistics.stdev(seconds),
        frames_per_second=1e3 / mean,
        images=len(seconds),
        size=size,
        device=device,
    )
