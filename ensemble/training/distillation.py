"""What a step of a student adds to that of a learner: the teacher's depth in its batch, and terms that compare both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from base_learners.contract import DepthPrediction, HandsOutMaps, MapsByStride
from base_learners.distillation import affinity_loss, trust, weighted_log_loss
from base_learners.losses import gradient_matching_loss, resize_like
from ensemble.data.division import Experiment
from ensemble.data.loaders import Batch, DepthRows, FrameDataset, MixedBatches, TrainingBatches
from ensemble.data.source import Frame, FrameSource
from ensemble.data.unlabelled import photographs_each_step
from ensemble.settings.schema import DistillationSettings, LearnerSettings
from ensemble.training.fit import MakeBatches


@dataclass(frozen=True)
class Lesson:
    """What a student is taught from.

    Attributes:
        source: Of the frames to fit, and of photographs where there are any.
        unlabelled: Photographs that are mixed into batches.
        depth: The teacher's, of every frame, in metres.
        error: The one to be expected of it, in metres; ``None`` where that is not known.
        network: Of the teacher, in evaluation mode, where its maps are wanted.
    """

    source: FrameSource
    unlabelled: tuple[Frame, ...]
    depth: DepthRows
    error: DepthRows | None = None
    network: nn.Module | None = field(default=None, compare=False)

    def frames(self, frames: Sequence[Frame], settings: LearnerSettings) -> FrameDataset:
        """The student's frames with the teacher's depth beside the truth, which is cropped and flipped alike."""
        rows = {"depth": self.depth} | ({} if self.error is None else {"error": self.error})
        return FrameDataset(self.source, [*frames, *self.unlabelled], settings.seen, rows)

    def batches(self, settings: LearnerSettings) -> MakeBatches:
        """How frames with and without truth are dealt to steps."""
        if not self.unlabelled:
            return TrainingBatches
        return partial(MixedBatches, unlabelled=len(self.unlabelled), each_step=photographs_each_step(settings))


class Teacher(Protocol):
    """Whom a student learns from."""

    @property
    def sources(self) -> Mapping[str, str]:
        """Fingerprints of what a run rests on that learns from it."""
        ...

    def lesson(self, settings: LearnerSettings, experiment: Experiment, frames: Sequence[Frame]) -> Lesson:
        """Its depth of the frames to fit, cached now where that was not done before."""
        ...


class Taught(NamedTuple):
    """A student's answer to a batch, in training with the maps of both decoders where they are compared."""

    prediction: DepthPrediction
    maps: MapsByStride | None = None
    taught: MapsByStride | None = None


def beside(teacher: nn.Module | None, network: nn.Module, batch: Batch) -> Taught:
    """The student's answer, and in training that of a teacher to the same image."""
    image = batch["image"]
    if teacher is None or not network.training:
        return Taught(network(image))
    if not isinstance(network, HandsOutMaps) or not isinstance(teacher, HandsOutMaps):
        raise ValueError("affinity: student and teacher must hand out the maps of their decoders (with_maps)")
    prediction, maps = network.with_maps(image)
    with torch.no_grad():
        _, taught = teacher.to(image.device).eval().with_maps(image)
    return Taught(prediction, maps, taught)


def teacher_terms(answer: Taught, batch: Batch, settings: DistillationSettings) -> dict[str, Tensor]:
    """Named terms of what the student has from its teacher; those without a weight are left out.

    What turns in from outside of a frame has the teacher's depth 0, and counts nowhere.
    """
    taught, *errors = batch["predictions"].split(1, dim=1)
    depth = resize_like(answer.prediction.depth, taught)
    error = errors[0] if errors else torch.zeros_like(taught)
    weight = trust(error, taught, floor=settings.error_floor)
    log_error = partial(weighted_log_loss, depth, taught, mean_weight=settings.mean_weight, scale=settings.scale)
    found = {}
    if settings.teacher_elsewhere:
        found["teacher_elsewhere"] = settings.teacher_elsewhere * log_error(weight * ~batch["valid"])
    if settings.teacher_depth:
        found["teacher_depth"] = settings.teacher_depth * log_error(weight)
    if settings.gradient_matching:
        matching = gradient_matching_loss(depth, taught, taught > 0, scales=settings.scales)
        found["gradient_matching"] = settings.gradient_matching * matching
    if answer.maps is not None and answer.taught is not None:
        found["affinity"] = settings.affinity * affinity_loss(answer.maps, answer.taught, grid=settings.grid)
    return found
