"""Frames of training as the meta-learner meets them: image, cached depth of every learner, truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ensemble.console import progress
from ensemble.data.division import open_experiment
from ensemble.data.source import Frame
from ensemble.data.transforms import bring_to_size, valid_depth
from ensemble.metrics.formulas import image_scores
from ensemble.metrics.protocols import EvalProtocol, prepare, protocol_of
from ensemble.predictions.level_zero import LevelZero, cache_level_zero, open_rows
from ensemble.runs.paths import Outputs
from ensemble.settings.names import Role
from ensemble.settings.schema import ScoredSettings
from meta.fusion import check_depths

PIXELS_PER_FRAME = 500
"""Valid pixels of a frame that weights are fitted to; every frame has the same say."""


@dataclass(frozen=True)
class TrainingRow:
    """One frame of training as the meta-learner meets it."""

    frame: Frame
    image: Float[Tensor, "1 3 h w"]  # RGB in [0, 1]
    depths: Float[Tensor, "1 k h w"]  # metres, one map per learner, at the working size
    target: Tensor  # metres
    valid: Tensor  # pixels that have a measurement within the depth range


@dataclass
class SampledPixels:
    """Valid pixels of frames, the same number of each, that a few weights are fitted to."""

    _rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    _depths: list[np.ndarray] = field(default_factory=list)
    _target: list[np.ndarray] = field(default_factory=list)

    def add(self, row: TrainingRow) -> None:
        """Draw ``PIXELS_PER_FRAME`` of a frame, or all where there are fewer."""
        valid = np.flatnonzero(row.valid.numpy())
        chosen = self._rng.choice(valid, min(PIXELS_PER_FRAME, len(valid)), replace=False)
        self._depths.append(row.depths[0].flatten(1).numpy()[:, chosen].T)
        self._target.append(row.target.flatten().numpy()[chosen])

    @property
    def arrays(self) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, " n"]]:
        """Depths of the learners and truth of what was drawn, in metres."""
        return np.concatenate(self._depths), np.concatenate(self._target)


def training_rows(
    learners: Sequence[LevelZero], outputs: Outputs, settings: ScoredSettings, role: Role, *, fill: bool = True
) -> Iterator[TrainingRow]:
    """Every frame of a role of training with its cached rows; missing ones are cached first, unless told not to."""
    experiment = open_experiment(outputs, settings)
    if fill:
        cache_level_zero(learners, outputs, role, workers=settings.data.workers)
    known = experiment.division.frames
    frames = known.validation if role == "validation" else known.fit
    rows = [open_rows(learner, experiment, frames, role) for learner in learners]
    for frame in progress(frames, f"reading {role} rows"):
        sample = bring_to_size(experiment.source.read(frame), settings.data.size)
        inside = valid_depth(sample["depth"], settings.data.min_depth, settings.data.max_depth)
        depths = torch.stack([torch.from_numpy(each.read(frame.id)) for each in rows])[None]
        check_depths(depths, [learner.name for learner in learners])
        yield TrainingRow(frame, sample["image"][None], depths, sample["depth"][None], (sample["valid"] & inside)[None])


def training_protocol(settings: ScoredSettings) -> EvalProtocol:
    """How frames of training are scored: at the working size."""
    return protocol_of(
        settings, "validation", flip_averaging=settings.evaluation.flip_averaging, size=settings.data.size
    )


def scores_of(depths: Float[Tensor, "1 k h w"], row: TrainingRow, protocol: EvalProtocol) -> dict[str, np.ndarray]:
    """Every metric of every depth map of a frame of training, at the working size."""
    maps = depths.transpose(0, 1)
    shape = maps.shape
    *compared, _ = prepare(maps, row.target.expand(shape), row.valid.expand(shape), protocol=protocol)
    return {metric: values.numpy() for metric, values in image_scores(*compared).items()}
