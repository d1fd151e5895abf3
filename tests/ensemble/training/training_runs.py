"""Small trainings for the tests of this folder: a toy network on tiny rooms, and a narrow AdaBins that has dropout."""

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from base_learners.losses import scale_invariant_log_loss
from ensemble.data import open_source
from ensemble.data.loaders import FrameDataset
from ensemble.metrics.protocols import EvalProtocol
from ensemble.runs.paths import Run
from ensemble.settings.layers import Choice, learner_settings
from ensemble.settings.schema import DataSettings, LearnerSettings, RoomsSettings, TrainingSettings
from ensemble.training.checkpoints import read_checkpoint
from ensemble.training.fit import fit
from ensemble.training.tasks import DepthTask

SIZE = (32, 48)
NARROW_ADABINS = {
    "widths": [48, 32, 24, 16, 16],
    "embedding": 16,
    "bins": 16,
    "queries": 8,
    "patch_size": 4,
    "positions": 40,
    "layers": 1,
    "heads": 2,
    "feedforward": 32,
    "hidden": 16,
}
NARROW_BTS = {"adaptor": 48, "widths": [48, 32, 24, 16, 16]}


class Toy(nn.Module):
    """Two convolutions without batch norm."""

    def __init__(self, *, factor: float = 1.0) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 4, 3, padding=1)
        self.decoder = nn.Conv2d(4, 1, 3, padding=1)
        self.factor = factor

    def forward(self, image: Tensor) -> Tensor:
        return F.softplus(self.decoder(self.encoder(image).tanh())) * self.factor + 0.1


def data_settings(**changes: Any) -> DataSettings:
    rooms = RoomsSettings(scenes=6, test_scenes=1, frames=4)
    return DataSettings(**{"kind": "rooms", "size": SIZE, "rooms": rooms, **changes})


@functools.cache
def datasets(settings: DataSettings) -> tuple[FrameDataset, FrameDataset]:
    """16 frames to fit and 5 to validate, rendered once."""
    source = open_source(settings)
    frames = [frame for frame in source.frames if frame.split == "train"]
    training, validation = (FrameDataset(source, part, settings) for part in (frames[:16], frames[16:21]))
    training.preload()
    validation.preload()
    return training, validation


def log_error_per_image(depth: Tensor, batch: Any) -> dict[str, Tensor]:
    """A loss that is a mean over images, so that it does not matter how a batch is divided."""
    difference = (depth.float().log() - batch["depth"].clamp(min=1e-3).log()).abs() * batch["valid"]
    return {"log": (difference.sum(dim=(1, 2, 3)) / batch["valid"].sum(dim=(1, 2, 3))).mean()}


def silog(depth: Tensor, batch: Any) -> dict[str, Tensor]:
    return {"silog": scale_invariant_log_loss(depth, batch["depth"], batch["valid"])}


def see_image(network: nn.Module, batch: Any) -> Tensor:
    return network(batch["image"])


def toy_task(
    training: TrainingSettings,
    steps: int,
    *,
    network: nn.Module | None = None,
    losses: Callable[..., Any] = log_error_per_image,
    forward: Callable[..., Any] = see_image,
    depth: Callable[..., Tensor] = lambda depth: depth,
    **divided: Any,
) -> DepthTask:
    """``divided``: groups, parts and clip of the task."""
    torch.manual_seed(1)
    return DepthTask(
        "toy",
        network or Toy(),
        forward=forward,
        losses=losses,
        depth=depth,
        settings=training,
        steps=steps,
        seed=3,
        protocol=EvalProtocol(
            split="validation",
            test="official",
            crop="none",
            min_depth=1e-3,
            max_depth=10.0,
            flip_averaging=False,
            size=SIZE,
        ),
        **divided,
    )


def toy_settings(**changes: Any) -> TrainingSettings:
    return TrainingSettings(**{"epochs": 2, "batch_size": 4, "lr": 1e-2, "device": "cpu", **changes})


def toy_fit(
    folder: Path,
    *,
    data: DataSettings | None = None,
    loggers: Any = (),
    task: Any = None,
    now: Callable[[], float] = time.monotonic,
    **changes: Any,
) -> Run:
    """Train the toy; ``task`` holds further arguments of ``toy_task``, or makes them."""
    settings, run = toy_settings(**changes), Run(folder)
    training, validation = datasets(data or data_settings())
    arguments = task() if callable(task) else task or {}
    fit(lambda steps: toy_task(settings, steps, **arguments), training, validation, settings, run, seed=3, now=now)
    return run


class PowerCutError(Exception):
    """Ends a training from outside."""


def cut_after(calls: int, losses: Callable[..., Any] = log_error_per_image) -> Callable[..., Any]:
    """Losses that end the training once they were asked for so many times."""
    count = [0]

    def cutting(answer: Any, batch: Any) -> Any:
        count[0] += 1
        if count[0] > calls:
            raise PowerCutError
        return losses(answer, batch)

    return cutting


def assert_same_end(resumed: Run, straight: Run) -> None:
    ours, theirs = weights(resumed), weights(straight)
    assert ours.keys() == theirs.keys()
    assert [name for name, values in ours.items() if not torch.equal(values, theirs[name])] == []
    assert resumed.log.read_text() == straight.log.read_text()
    assert resumed.best.read_bytes() == straight.best.read_bytes()
    left, right = (json.loads(run.result.read_text()) for run in (resumed, straight))
    own = {"seconds": 0, "seal": None}
    assert {**left, **own} == {**right, **own}


def narrow_settings(learner: str = "adabins", **training: Any) -> LearnerSettings:
    """A real learner on 16 + 4 frames of 48x64: four steps an epoch."""
    network = {"adabins": NARROW_ADABINS, "bts": NARROW_BTS}[learner]
    return learner_settings(learner, Choice(kind="rooms", assignments=narrow_assignments(network, **training)))


def narrow_assignments(network: dict[str, Any], **training: Any) -> list[str]:
    steps = {"epochs": 2, "batch_size": 4, "lr": 1e-3, "device": "cpu", **training}
    return [
        "experiment=test",
        "encoder.name=test_efficientnet",
        "data.size=[48, 64]",
        "data.crop=[44, 60]",
        "data.rooms={scenes: 5, test_scenes: 1, frames: 4}",
        "data.validation_fraction=0.2",
        f"network={json.dumps(network)}",
        *(f"training.{key}={json.dumps(value)}" for key, value in steps.items()),
    ]


def weights(run: Run) -> dict[str, Tensor]:
    return read_checkpoint(run.last)["state_dict"]


def log_lines(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.log.read_text().splitlines()]


def train_lines(run: Run) -> list[dict[str, Any]]:
    return [line for line in log_lines(run) if "train/loss" in line]


def validation_lines(run: Run) -> list[dict[str, Any]]:
    return [line for line in log_lines(run) if "validation/d1" in line]
