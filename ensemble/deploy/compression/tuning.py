"""What training brings back: some more steps of a learner with its own loss, as it is or as 8 bits would have it."""

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ensemble.data import open_source
from ensemble.data.loaders import FrameDataset, KeptFrames, TrainingBatches
from ensemble.data.splits import training_frames
from ensemble.deploy.export.module import Leaving
from ensemble.deploy.network import LearnerNetwork
from ensemble.settings.schema import LearnerSettings
from ensemble.settings.trees import SettingsError
from ensemble.training.learners import own_losses, preload

RATE_SHARE = 0.1
"""Of the learning rate that the learner was trained with."""

MOST_WEIGHT = 127
"""Of a weight of 8 bits, as ONNX Runtime rounds them: evenly around 0."""

FOLLOWED = 0.9
"""Share of its former value that a range keeps at every step."""


class RoundedWeight(nn.Module):
    """Weights as 8 bits hold them, with a scale for every channel; gradients pass where nothing is cut off."""

    def forward(self, weight: Tensor) -> Tensor:
        """The same shape, rounded.

        Source: Jacob et al. 2018, section 3, with ranges per channel.
        """
        scale = weight.detach().abs().amax(dim=tuple(range(1, weight.ndim))).clamp(min=1e-12) / MOST_WEIGHT
        none = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, none, 0, -MOST_WEIGHT, MOST_WEIGHT)


class RoundedValues(nn.Module):
    """Values in 256 steps between the least and the largest that were met lately."""

    def __init__(self) -> None:
        super().__init__()
        self.least: float | None = None
        self.largest = 0.0

    def forward(self, values: Tensor) -> Tensor:
        """The same shape, rounded."""
        low, high = min(0.0, float(values.detach().min())), max(0.0, float(values.detach().max()))
        if self.least is None:
            self.least, self.largest = low, high
        elif torch.is_grad_enabled():
            self.least = FOLLOWED * self.least + (1 - FOLLOWED) * low
            self.largest = FOLLOWED * self.largest + (1 - FOLLOWED) * high
        scale = max(self.largest - self.least, 1e-12) / 255
        return torch.fake_quantize_per_tensor_affine(values, scale, round(-self.least / scale), 0, 255)


@contextmanager
def rounded_to_eight_bits(convolutions: Sequence[nn.Conv2d]) -> Iterator[None]:
    """Inside, these convolutions compute with what 8 bits hold; afterwards their weights are what was rounded."""
    hooks = []
    for convolution in convolutions:
        parametrize.register_parametrization(convolution, "weight", RoundedWeight())
        rounded = RoundedValues()
        hooks.append(convolution.register_forward_pre_hook(_through(rounded)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for convolution in convolutions:
            parametrize.remove_parametrizations(convolution, "weight", leave_parametrized=True)


def tune(network: nn.Module, settings: LearnerSettings, steps: int, kept: KeptFrames | None = None) -> float:
    """Train a learner's network further, which is changed: on its frames, with its loss, in evaluation mode.

    A student has no teacher here: what that would add to its loss is left out.

    Args:
        network: Prepared; the few BN that it still has keep their statistics.
        settings: What it was trained with.
        steps: How many; the rate falls along a cosine.
        kept: Decoded frames, shared between trainings.

    Returns:
        Mean loss over the last tenth of the steps.

    Raises:
        ValueError: The frames that it was trained on are not there.
        FloatingPointError: The loss is not finite.
    """
    batches = _batches(settings, kept)
    losses = own_losses(settings, 1.0)
    network.requires_grad_(True)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE_SHARE * settings.training.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    found = []
    for step in range(1, steps + 1):
        batch = next(batches)
        loss = torch.stack([*losses(network(batch["image"]), batch).values()]).sum()
        if not bool(loss.isfinite()):
            raise FloatingPointError(
                f"{settings.learner}: at step {step} of {steps} of training further the loss is not finite (first "
                f"frame of the batch {batch['frame'][0]}). Train fewer steps (--steps of a report, --qat of an "
                "export), or train the learner anew with a lower training.lr, of which this takes a tenth"
            )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        found.append(loss.item())
    network.requires_grad_(False)
    last = found[-max(1, steps // 10) :]
    return sum(last) / len(last)


def trained_for_eight_bits(
    network: Leaving, steps: int, kept: KeptFrames | None = None, *, filters: Collection[str] | None = None
) -> Leaving:
    """A copy whose learners were trained further with what convolutions of 8 bits compute with.

    Args:
        network: Prepared.
        steps: How many.
        kept: Decoded frames, shared between trainings.
        filters: Names of the weights that the file will have in 8 bits, as ``quantise.eight_bit_filters`` tells them;
            those of all convolutions where absent.

    Raises:
        ValueError: There is no such weight, or the frames that a learner was trained on are not there.

    Source: Jacob et al. 2018, section 3.
    """
    changed = copy.deepcopy(network)
    small = [
        layer
        for name, layer in changed.named_modules()
        if isinstance(layer, nn.Conv2d) and (filters is None or f"{name}.weight" in filters)
    ]
    if not small:
        raise ValueError("qat: no convolution is of 8 bits in the file, so there is nothing to train for; leave it out")
    for _, member in learners_of(changed):
        for model, settings in zip(member.models, member.settings, strict=True):
            inside = {*model.modules()}
            with rounded_to_eight_bits([layer for layer in small if layer in inside]):
                tune(model, settings, steps, kept)
    return changed


def learners_of(network: Leaving) -> list[tuple[str, LearnerNetwork]]:
    """Names of learners, and their networks, in the order of the weights."""
    pairs = zip(network.network.names, network.network.members, strict=True)
    return [(name, member) for name, member in pairs if isinstance(member, LearnerNetwork)]


def _batches(settings: LearnerSettings, kept: KeptFrames | None) -> Iterator[dict]:
    try:
        source = open_source(settings.data)
        frames = training_frames(source, settings.data).fit
    except (ValueError, OSError) as error:
        raise SettingsError(
            f"{settings.learner}: training it further needs the frames that it was trained on ({error})"
        ) from error
    dataset = FrameDataset(source, frames, settings.seen)
    preload(settings, dataset, kept=kept)
    order = TrainingBatches(len(dataset), min(settings.training.batch_size, len(dataset)), settings.seed)
    for epoch in count():
        order.set_epoch(epoch)
        for draws in order:
            yield dataset[draws]


def _through(rounded: RoundedValues) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    return lambda _, given: (rounded(given[0]), *given[1:])
