"""What a network costs: parameters, multiply-adds and time for one image, beside the figures it was published with."""

import copy
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ensemble.metrics.study import STUDIED, Published
from ensemble.settings.kinds import COPY, facts_of
from ensemble.settings.layers import Choice, learner_settings, named_learners, stack_settings
from ensemble.settings.schema import ImageSize
from ensemble.training.layout import with_fast_points
from ensemble.training.networks import build_learner, build_stack, title_of
from meta.inputs import channel_count
from meta.unet import MetaUNet

PUBLISHED_SIZE = (416, 544)
COUNTER = "torch.utils.flop_counter (convolutions, linear layers, attention)"
BYTES_PER_PARAMETER = 4


META_PUBLISHED = MappingProxyType(
    {
        "d": Published(4_266_246, 1.66e9),
        "rgb": Published(4_266_246, 1.66e9),
        "rgb+d": Published(4_266_678, 1.69e9),
    }
)
"""Inputs of the meta-learner -> its published cost, the learners below it not included."""


@dataclass(frozen=True)
class Profile:
    """Cost of one image.

    Attributes:
        parameters: All parameters, frozen ones too.
        megabytes: Parameters in float32, 1e6 bytes.
        mul_adds: Multiply-adds as counted by ``COUNTER``.
        milliseconds: Median over the timed passes; ``frames_per_second`` is its inverse.
        size: Height and width in pixels.
        device: Where the time was taken.
        channels_last: Whether weights and image lay in that memory format.
        repeats: Timed passes.
    """

    parameters: int
    megabytes: float
    mul_adds: int
    milliseconds: float
    frames_per_second: float
    size: tuple[int, int]
    device: str
    channels_last: bool
    repeats: int


@dataclass(frozen=True)
class ProfileRow:
    """A network's cost at the size that was asked for, and what it is held against.

    Attributes:
        learner: Name that the command line knows it by.
        mul_adds_published_size: Multiply-adds at ``PUBLISHED_SIZE``, counted like ours; ``None`` if it was not counted.
        published: ``None`` for a network that the study did not have.
    """

    learner: str
    title: str
    profile: Profile
    mul_adds_published_size: int | None = None
    published: Published | None = None

    @property
    def deviation_percent(self) -> float | None:
        """Multiply-adds at ``PUBLISHED_SIZE`` above (+) or below (-) the published ones."""
        if self.published is None or self.mul_adds_published_size is None:
            return None
        return 100 * (self.mul_adds_published_size / self.published.mul_adds - 1)


class WithScale(nn.Module):
    """A meta-learner from its channels to its maps, with the head that looks at the image a second time, if it has one.

    What it returns is of no use but to be counted and timed.
    """

    def __init__(self, meta: MetaUNet) -> None:
        super().__init__()
        self.meta = meta

    def forward(self, channels: Tensor) -> tuple[Tensor, ...]:
        """Maps of the channels, and what the head sees of an image of zeros."""
        maps = self.meta(channels)
        correction = self.meta.correction
        if correction is None or correction.scale is None:
            return (maps,)
        batch, _, height, width = channels.shape
        image, depths = channels.new_zeros(batch, 3, height, width), torch.ones_like(maps[:, : self.meta.learners])
        return (maps, *correction.scale.seen(image, depths, correction.weights))


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
    network = copy.deepcopy(module).eval()
    with _fused_attention_off(), torch.inference_mode(), counter:
        network(image)
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

    It takes a batch of images and nothing else; size, channels and repeats are 1 or more; passes that are not timed
    warm it up.
    """
    _check_size(size)
    if repeats < 1 or channels < 1:
        raise ValueError(f"profile: found repeats {repeats} and channels {channels}; both must be at least 1")
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = copy.deepcopy(module).to(device).to(memory_format=layout).eval()
    with_fast_points(network, processor=torch.device(device).type == "cpu")
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
    published = ("parameters", "mul_adds", "frames_per_second")
    return {
        "learner": row.learner,
        "title": row.title,
        **asdict(row.profile),
        "counter": COUNTER,
        f"mul_adds_{spelt_size(PUBLISHED_SIZE)}": row.mul_adds_published_size,
        "deviation_percent": row.deviation_percent,
        "published": row.published and {name: getattr(row.published, name) for name in published},
    }


def _seconds(network: nn.Module, image: torch.Tensor, *, repeats: int) -> list[float]:
    seconds = []
    with torch.inference_mode():
        for _ in range(10 if image.is_cuda else 2):
            network(image)
        for _ in range(repeats):
            wait_for(image.device)
            start = time.perf_counter()
            network(image)
            wait_for(image.device)
            seconds.append(time.perf_counter() - start)
    return seconds


def wait_for(device: torch.device) -> None:
    """Return when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _fused_attention_off() -> Iterator[None]:
    was_on = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_on)


def _check_size(size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise ValueError(f"profile: found size {spelt_size(size)}; height and width must be at least 1 pixel")


def spelt_size(size: tuple[int, int]) -> str:
    """Height and width as they are given on a command line."""
    return f"{size[0]}x{size[1]}"


def profile_rows(
    learner: str | None, size: tuple[int, int] | None, *, device: str, repeats: int, config: Path | None = None
) -> list[ProfileRow]:
    """Cost of one learner, or of every learner and of the meta-learner with one and with two kinds of input.

    Settings are those for a copy, or of the experiment file ``config`` with other widths or another encoder. Where no
    size is given, learners with a size of their own are measured at it, everything else at that of a copy's frames.
    """
    choice = profile_choice(device, config)
    return [
        ProfileRow(
            name,
            title,
            profile_network(
                network, size or own or facts_of(COPY).frame, device=device, channels=channels, repeats=repeats
            ),
            count_mul_adds(network, PUBLISHED_SIZE, channels=channels),
            published,
        )
        for name, title, network, channels, published, own in measured_networks(learner, choice)
    ]


def profile_choice(device: str, config: Path | None) -> Choice:
    """What networks are measured: those of an experiment file, or those for a copy; none of their weights matter.

    Raises:
        ValueError: The device is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA device; use --device cpu")
    return Choice(kind=COPY if config is None else None, config=config, assignments=("encoder.weights=none",))


def measured_networks(
    learner: str | None, choice: Choice
) -> Iterator[tuple[str, str, nn.Module, int, Published | None, ImageSize | None]]:
    """Name, title, network, channels, published row and own size of what is measured, built one after the other."""
    for name in named_learners(choice) if learner is None else (learner,):
        settings = learner_settings(name, choice)
        yield name, title_of(settings), build_learner(settings), 3, STUDIED.get(name), settings.size
    for inputs in ("d", "rgb+d") if learner is None else ():
        stack = stack_settings(inputs, choice)
        channels = channel_count(inputs, len(stack.learners))
        yield f"meta-{inputs}", f"meta {inputs}", build_stack(stack), channels, META_PUBLISHED[inputs], None
