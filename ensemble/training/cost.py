"""What a network costs: parameters, multiply-adds and time for one image, beside the figures it was published with."""

import copy
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from base_learners import LEARNERS
from ensemble.metrics.study import STUDIED, Published
from ensemble.settings.kinds import COPY
from ensemble.settings.layers import Choice, learner_settings, stack_settings
from ensemble.training.networks import build_learner, build_stack
from meta.inputs import channel_count

PUBLISHED_SIZE = (416, 544)
COUNTER = "torch.utils.flop_counter (convolutions, linear layers, attention)"
BYTES_PER_PARAMETER = 4


@dataclass(frozen=True)
class PublishedCost:
    """The published cost of a network that is not a base learner.

    Attributes:
        parameters: Trainable parameters of the rebuilt network.
        mul_adds: Multiply-adds of one 416x544 image.
        frames_per_second: On a GTX 1080 Ti; ``None`` where only the whole stack was timed.
    """

    parameters: int
    mul_adds: float
    frames_per_second: float | None = None


META_PUBLISHED = MappingProxyType(
    {
        "d": PublishedCost(4_266_246, 1.66e9),
        "rgb": PublishedCost(4_266_246, 1.66e9),
        "rgb+d": PublishedCost(4_266_678, 1.69e9),
    }
)
"""Inputs of the meta-learner -> its published cost, the learners below it not included."""


@dataclass(frozen=True)
class Profile:
    """Cost of one image.

    Attributes:
        size: Height and width in pixels.
        device: Where the time was taken.
        channels_last: Whether weights and image lay in that memory format.
        repeats: Timed passes.
        parameters: All parameters, frozen ones too.
        megabytes: Parameters in float32, 1e6 bytes.
        mul_adds: Multiply-adds as counted by ``COUNTER``.
        milliseconds: Median over the timed passes.
        frames_per_second: Its inverse.
    """

    size: tuple[int, int]
    device: str
    channels_last: bool
    repeats: int
    parameters: int
    megabytes: float
    mul_adds: int
    milliseconds: float
    frames_per_second: float


@dataclass(frozen=True)
class ProfileRow:
    """A network's cost and what it is held against.

    Attributes:
        learner: Name that the command line knows it by.
        title: Name for people.
        profile: Cost at the size that was asked for.
        mul_adds_published_size: Multiply-adds at ``PUBLISHED_SIZE``, counted like ours; ``None`` if it was not counted.
        published: ``None`` for a network that the study did not have.
    """

    learner: str
    title: str
    profile: Profile
    mul_adds_published_size: int | None = None
    published: Published | PublishedCost | None = None

    @property
    def deviation_percent(self) -> float | None:
        """Multiply-adds at ``PUBLISHED_SIZE`` above (+) or below (-) the published ones."""
        if self.published is None or self.mul_adds_published_size is None:
            return None
        return 100 * (self.mul_adds_published_size / self.published.mul_adds - 1)


def count_parameters(module: nn.Module) -> int:
    """Number of all parameters, each counted once."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_mul_adds(module: nn.Module, size: tuple[int, int], *, channels: int = 3) -> int:
    """Multiply-adds of one image: half of the floating-point operations that ``COUNTER`` sees.

    Counted on an actual pass over an image of zeros in evaluation mode, on the device of the module. PyTorch's fused
    attention kernel is switched off meanwhile: the counter would take a whole transformer layer for nothing.
    """
    _check_size(size)
    first = next(module.parameters(), None)
    image = torch.zeros(1, channels, *size, device=None if first is None else first.device)
    counter = FlopCounterMode(display=False)
    with _evaluation_mode(module), _fused_attention_off(), torch.inference_mode(), counter:
        module(image)
    return counter.get_total_flops() // 2


def profile_network(
    module: nn.Module,
    size: tuple[int, int],
    *,
    device: str | torch.device,
    channels: int = 3,
    repeats: int = 10,
    channels_last: bool = False,
) -> Profile:
    """Measures a network on one image; the module itself stays where and as it is, a copy is measured.

    Args:
        module: Takes a batch of images and nothing else.
        size: Height and width in pixels.
        device: Where to measure.
        channels: Channels of its input.
        repeats: Timed passes, after untimed ones that warm up.
        channels_last: Memory format of weights and image.

    Raises:
        ValueError: A size, ``channels`` or ``repeats`` below 1.
    """
    _check_size(size)
    if repeats < 1 or channels < 1:
        raise ValueError(f"profile: found repeats {repeats} and channels {channels}; both must be at least 1")
    device = torch.device(device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = copy.deepcopy(module).to(device).to(memory_format=layout).eval()
    image = torch.rand(1, channels, *size, device=device).contiguous(memory_format=layout)
    milliseconds = 1e3 * statistics.median(_seconds(network, image, repeats=repeats))
    parameters = count_parameters(network)
    return Profile(
        size=size,
        device=str(device),
        channels_last=channels_last,
        repeats=repeats,
        parameters=parameters,
        megabytes=BYTES_PER_PARAMETER * parameters / 1e6,
        mul_adds=count_mul_adds(network, size, channels=channels),
        milliseconds=milliseconds,
        frames_per_second=1e3 / milliseconds,
    )


def profile_json(rows: Sequence[ProfileRow]) -> str:
    """A list with one object per network; multiply-adds are plain numbers, not billions."""
    return json.dumps([_json_row(row) for row in rows], indent=2)


def _json_row(row: ProfileRow) -> dict[str, object]:
    published = row.published
    return {
        "learner": row.learner,
        "title": row.title,
        "parameters": row.profile.parameters,
        "megabytes": row.profile.megabytes,
        "mul_adds": row.profile.mul_adds,
        "milliseconds": row.profile.milliseconds,
        "frames_per_second": row.profile.frames_per_second,
        "size": list(row.profile.size),
        "device": row.profile.device,
        "channels_last": row.profile.channels_last,
        "repeats": row.profile.repeats,
        "counter": COUNTER,
        f"mul_adds_{spelt_size(PUBLISHED_SIZE)}": row.mul_adds_published_size,
        "deviation_percent": row.deviation_percent,
        "published": None
        if published is None
        else {
            "parameters": published.parameters,
            "mul_adds": published.mul_adds,
            "frames_per_second": published.frames_per_second,
        },
    }


def _seconds(network: nn.Module, image: torch.Tensor, *, repeats: int) -> list[float]:
    on_gpu = image.device.type == "cuda"
    seconds = []
    with torch.inference_mode():
        for _ in range(10 if on_gpu else 2):
            network(image)
        for _ in range(repeats):
            if on_gpu:
                torch.cuda.synchronize(image.device)
            start = time.perf_counter()
            network(image)
            if on_gpu:
                torch.cuda.synchronize(image.device)
            seconds.append(time.perf_counter() - start)
    return seconds


@contextmanager
def _fused_attention_off() -> Iterator[None]:
    was_on = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_on)


@contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    were_training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in were_training:
            part.training = True


def _check_size(size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise ValueError(f"profile: found size {spelt_size(size)}; height and width must be at least 1 pixel")


def spelt_size(size: tuple[int, int]) -> str:
    """Height and width as they are given on a command line."""
    return f"{size[0]}x{size[1]}"


def profile_rows(
    learner: str | None, size: tuple[int, int], *, device: str, repeats: int, config: Path | None = None
) -> list[ProfileRow]:
    """Cost of one learner, or of every learner and of the meta-learner with one and with two kinds of input.

    Args:
        learner: Name of a learner; ``None`` measures everything.
        size: Height and width of the timed image.
        device: Where to measure.
        repeats: Timed passes.
        config: An experiment file with other widths or another encoder; those for a copy where absent.

    Raises:
        ValueError: There is no such device here.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA device; use --device cpu")
    kind = COPY if config is None else None
    rows = []
    for name in [learner] if learner is not None else list(LEARNERS):
        settings = learner_settings(name, Choice(kind=kind, config=config, assignments=("encoder.weights=none",)))
        row = LEARNERS[name]
        rows.append(_profiled(name, row.title, build_learner(settings), size, device, repeats, 3, STUDIED.get(name)))
    for inputs in ("d", "rgb+d") if learner is None else ():
        stack = stack_settings(inputs, Choice(kind=kind, config=config, assignments=("encoder.weights=none",)))
        channels = channel_count(inputs, len(stack.learners))
        network, published = build_stack(stack), META_PUBLISHED[inputs]
        rows.append(_profiled(f"meta-{inputs}", f"meta {inputs}", network, size, device, repeats, channels, published))
    return rows


def _profiled(
    name: str,
    title: str,
    network: nn.Module,
    size: tuple[int, int],
    device: str,
    repeats: int,
    channels: int,
    published: Published | PublishedCost | None,
) -> ProfileRow:
    return ProfileRow(
        learner=name,
        title=title,
        profile=profile_network(network, size, device=device, channels=channels, repeats=repeats),
        mul_adds_published_size=count_mul_adds(network, PUBLISHED_SIZE, channels=channels),
        published=published,
    )
