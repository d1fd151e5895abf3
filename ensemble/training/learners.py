"""Training of one learner: its frames, its task, its run."""

from collections.abc import Sequence
from functools import partial

import lightning
import torch
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor

from base_learners import LEARNERS
from ensemble.console import messages
from ensemble.data import open_source
from ensemble.data.division import open_experiment
from ensemble.data.loaders import Batch, FrameDataset, KeptFrames, TrainingBatches
from ensemble.data.splits import TrainingFrames, training_frames
from ensemble.metrics.protocols import protocol_of
from ensemble.runs.claims import claim, is_complete
from ensemble.runs.paths import FULL, Outputs, Run, fold_model
from ensemble.settings.schema import LearnerSettings, StackSettings
from ensemble.settings.trees import SettingsError
from ensemble.training.distillation import Lesson, Taught, Teacher, beside, teacher_terms
from ensemble.training.fit import fit, lr_range
from ensemble.training.networks import build_learner, check_learner, title_of
from ensemble.training.phases import loss_arguments, phase_starts
from ensemble.training.tasks import DepthTask, Losses
from ensemble.training.trackers.weights_and_biases import wandb_logger


def own_losses(settings: LearnerSettings, done: float = 0.0) -> Losses:
    """The loss recipe of a learner with its settings, from the moment that a share of the training is done."""
    recipe, arguments = LEARNERS[settings.architecture].loss, loss_arguments(settings, done)
    return lambda prediction, batch: recipe(prediction, batch["depth"], batch["valid"], **arguments)


def student_losses(settings: LearnerSettings, done: float = 0.0) -> Losses:
    """The same on measured pixels, and what a student has from its teacher."""
    own = own_losses(settings, done)

    def losses(answer: Taught, batch: Batch) -> dict[str, Tensor]:
        return {**own(answer.prediction, batch), **teacher_terms(answer, batch, settings.distillation)}

    return losses


WANDB_PROJECT = "stackdepth"


def train_learner(
    settings: LearnerSettings,
    outputs: Outputs,
    model: str = FULL,
    *,
    fresh: bool = False,
    wandb: bool = False,
    kept: KeptFrames | None = None,
    teacher: Teacher | None = None,
    callbacks: Sequence[lightning.Callback] = (),
    loggers: Sequence[Logger] = (),
    run: Run | None = None,
) -> Run:
    """Train one model of a learner, or go on with its run where it stopped.

    The model is the full fit, that of the settings' fold, or these of another seed. ``fresh`` throws away what an
    earlier run of this name has written, ``wandb`` tracks beside the log, and trainings of one process share the
    decoded frames ``kept``. A student learns from the ``teacher`` that its settings name. Callbacks and loggers are
    further ones; ``run`` are other files than those of the experiment's own model.

    Raises:
        ValueError: The run was begun with other settings, or the data do not allow it.
    """
    if (settings.distillation.teacher is None) != (teacher is None):
        raise SettingsError(
            f"{settings.learner}: distillation.teacher is {settings.distillation.teacher}, but no such teacher is "
            "opened; train it with python -m ensemble.base train"
        )
    if settings.fold is not None and model == FULL:
        model = fold_model(settings.fold)
    run = run or outputs.learner_run(settings.experiment, settings.learner, model)
    if not run.settings.is_file():
        check_learner(settings)
    experiment = open_experiment(outputs, settings)
    sources = experiment.sources(settings.fold) | ({} if teacher is None else dict(teacher.sources))
    if is_complete(run, settings, fresh=fresh, keep_both="--experiment NAME", sources=sources):
        return run
    frames = experiment.division.fitted_by(settings.fold)
    lesson = None if teacher is None else teacher.lesson(settings, experiment, frames.fit)
    training, validation = (
        FrameDataset(experiment.source, part, settings.seen) for part in (frames.fit, frames.validation)
    )
    training = training if lesson is None else lesson.frames(frames.fit, settings)
    title = title_of(settings)
    announce(title if model == FULL else f"{title}, {model}", frames, settings)
    preload(settings, training, validation, kept=kept)
    torch.manual_seed(settings.seed)
    name = settings.learner if model == FULL else f"{settings.learner}/{model}"
    fit(
        partial(learner_task, settings, lesson=lesson),
        training,
        validation,
        settings.training,
        run,
        seed=settings.seed,
        claim=partial(claim, run, settings, sources),
        loggers=[*trackers(settings, name, run, enabled=wandb), *loggers],
        callbacks=callbacks,
        make_batches=TrainingBatches if lesson is None else lesson.batches(settings),
    )
    return run


def range_test(
    settings: LearnerSettings, outputs: Outputs, *, steps: int
) -> tuple[list[float], list[float], float | None]:
    """Learning-rate range test of a learner on its training frames: rates, losses, suggestion."""
    source = open_source(settings.data)
    training = FrameDataset(source, training_frames(source, settings.data).fit, settings.seen)
    preload(settings, training)
    torch.manual_seed(settings.seed)
    run = outputs.learner_run(settings.experiment, settings.learner)
    make_task = partial(learner_task, settings)
    return lr_range(make_task, training, settings.training, run, seed=settings.seed, steps=steps)


def learner_task(settings: LearnerSettings, steps: int, lesson: Lesson | None = None) -> DepthTask:
    """A learner's network with its own loss recipe, and that of its teacher where it has one."""
    losses = own_losses if lesson is None else student_losses
    return DepthTask(
        settings.learner,
        build_learner(settings),
        forward=partial(beside, lesson.network)
        if lesson is not None
        else lambda network, batch: network(batch["image"]),
        losses=losses(settings),
        later={start: losses(settings, start) for start in phase_starts([settings])},
        depth=lambda answer: (answer if lesson is None else answer.prediction).depth,
        shares=lesson is not None,
        settings=settings.training,
        steps=steps,
        seed=settings.seed,
        protocol=protocol_of(settings, "validation", flip_averaging=False, size=settings.seen.size),
    )


def announce(title: str, frames: TrainingFrames, settings: LearnerSettings | StackSettings) -> None:
    """Say what is trained, on how many frames of what."""
    facts = settings.data.facts
    place = facts.title if facts.variable is None else settings.data.root
    height, width = (settings.seen if isinstance(settings, LearnerSettings) else settings.data).size
    messages.print(
        f"{title}: {len(frames.fit)} frames to fit, {len(frames.validation)} to validate, {height}x{width}, {place}"
    )


def preload(settings: LearnerSettings | StackSettings, *datasets: FrameDataset, kept: KeptFrames | None = None) -> None:
    """Decode the frames of datasets now, where the settings say so; ``kept`` shares them between trainings."""
    if settings.data.preload:
        for dataset in datasets:
            dataset.preload(kept)


def trackers(settings: LearnerSettings | StackSettings, name: str, run: Run, *, enabled: bool) -> list[Logger]:
    r"""Weights \& Biases beside the log of a run, where it is enabled."""
    if not enabled:
        return []
    return [wandb_logger(WANDB_PROJECT, name, settings.experiment, run.folder, settings.model_dump(mode="json"))]
