"""The story: train the learners, fit the meta-learner to their cached predictions; every stage reads and writes files.

``ensemble.predictions.predict`` caches between the two, ``ensemble.evaluation.evaluate`` scores after them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor

from base_learners.losses import scale_invariant_log_loss
from ensemble.data.division import open_experiment
from ensemble.data.loaders import Batch, FrameDataset, KeptFrames
from ensemble.data.source import Frame
from ensemble.data.splits import TrainingFrames
from ensemble.metrics.protocols import protocol_of
from ensemble.predictions.foreign.import_depth import check_free_name
from ensemble.predictions.learners import TrainedLearner, load_learner, trained_learner
from ensemble.predictions.level_zero import (
    LevelZero,
    cache_level_zero,
    check_same_frames,
    level_zero_of,
    open_rows,
    rests_on,
)
from ensemble.runs.claims import FOLDS, PROCESSES, claim, is_complete
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.names import Role
from ensemble.settings.schema import StackSettings
from ensemble.stacking.corrections import finish_corrections, fit_corrections
from ensemble.stacking.joint import live_task
from ensemble.training.fit import MakeTask, fit
from ensemble.training.learners import announce, preload, trackers
from ensemble.training.networks import build_learner, build_stack, check_pretrained
from ensemble.training.phases import loss_arguments, phase_starts
from ensemble.training.tasks import DepthTask, Losses
from meta.inputs import assemble


def fit_meta(
    settings: StackSettings,
    run: Run,
    outputs: Outputs,
    *,
    fresh: bool = False,
    wandb: bool = False,
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[lightning.Callback] = (),
    kept: KeptFrames | None = None,
) -> Run:
    """Fit the meta-learner to the learners' cached predictions, or go on with its run where it stopped.

    Rows that are missing are cached first: out-of-fold ones, or in-sample ones where the settings ask for them. With
    mode ``finetune`` or ``joint`` nothing is cached: the learners are trained together with the meta-learner.

    ``fresh`` throws away what an earlier run with the same name has written. Loggers and callbacks are further ones,
    for example to stop a fit early; ``kept`` holds decoded frames that the fits of one process share.

    Raises:
        ValueError: Learners are not trained, rows are stale, or the run was begun with other settings.
    """
    check_free_name(run.folder.name)
    if not run.settings.is_file():
        check_pretrained(settings.encoder, *(member.encoder for member in settings.members.values()))
    if settings.mode != "frozen":
        prepared = _prepare_live(settings, run, outputs, fresh=fresh)
    else:
        prepared = _prepare_frozen(settings, run, outputs, fresh=fresh)
    if prepared is None:
        return run
    make_task, training, validation, sources, finish = prepared
    preload(settings, training, validation, kept=kept)
    torch.manual_seed(settings.seed)
    fit(
        make_task,
        training,
        validation,
        settings.training,
        run,
        seed=settings.seed,
        claim=lambda: claim(run, settings, sources),
        loggers=[*trackers(settings, run.folder.name, run, enabled=wandb), *loggers],
        callbacks=callbacks,
        finish=finish,
    )
    return run


class Prepared(NamedTuple):
    """What a fit needs."""

    make_task: MakeTask
    training: FrameDataset
    validation: FrameDataset
    sources: Mapping[str, str]  # fingerprints of what it rests on
    finish: Callable[[], Mapping[str, Any]] = dict  # what is left to do when its weights are trained


def _prepare_frozen(settings: StackSettings, run: Run, outputs: Outputs, *, fresh: bool) -> Prepared | None:
    """The meta-learner over rows of its learners; ``None`` where the run is complete."""
    learners = level_zero_of(settings, outputs, run)
    check_same_frames(settings, learners)
    experiment = open_experiment(outputs, settings)
    source, division = experiment.source, experiment.division
    sources = {**rests_on(learners), FOLDS: division.folds.fingerprint}
    if is_complete(run, settings, fresh=fresh, keep_both="--name NAME", sources=sources):
        return None
    if fresh:  # the run must still be found by its name if its rows are refused
        claim(run, settings, sources)
    frames, judging = division.frames, "validation"
    if settings.fold is not None:
        judging = "oof"
        left_out = division.of_role("oof", settings.fold)
        frames = TrainingFrames(division.fitted_by(settings.fold).fit, left_out)
    roles: tuple[tuple[Role, tuple[Frame, ...]], ...] = ((settings.rows, frames.fit), (judging, frames.validation))
    parts: list[FrameDataset] = []
    for role, part in roles:
        if PROCESSES == 1:  # several would write the same rows; they read what is there
            cache_level_zero(learners, outputs, role, workers=settings.data.workers)
        rows = {each.name: open_rows(each, experiment, part, role) for each in learners}
        parts.append(FrameDataset(source, part, settings.data, rows))
    kind = "out-of-fold" if settings.rows == "oof" else "in-sample: the learners were trained on these frames"
    title = f"stack {settings.inputs} over {', '.join(settings.learners)} (rows: {settings.rows}, {kind})"
    announce(title, frames, settings)
    if not settings.corrects:
        return Prepared(lambda steps: stack_task(settings, steps), parts[0], parts[1], sources)
    fitted = fit_corrections(settings, learners, outputs)
    finish = partial(finish_corrections, settings, run, learners, outputs)
    return Prepared(lambda steps: stack_task(settings, steps, fitted), parts[0], parts[1], sources, finish)


def _prepare_live(settings: StackSettings, run: Run, outputs: Outputs, *, fresh: bool) -> Prepared | None:
    """Learners and meta-learner together: learners of finished runs, or all of them from the start."""
    experiment = open_experiment(outputs, settings)
    source, sources = experiment.source, experiment.sources(None)
    start: dict[str, TrainedLearner] = {}
    if settings.mode == "finetune":
        root = settings.data.root
        start = {name: trained_learner(outputs, settings.experiment, name, root=root) for name in settings.learners}
        check_same_frames(settings, [LevelZero((learner,)) for learner in start.values()])
        sources |= {learner.key: learner.weights for learner in start.values()}
    if is_complete(run, settings, fresh=fresh, keep_both="--name NAME", sources=sources):
        return None
    frames = experiment.division.frames
    parts = [FrameDataset(source, part, settings.data) for part in (frames.fit, frames.validation)]
    how = "learners go on" if settings.mode == "finetune" else "learners from the start"
    announce(f"stack {settings.inputs} with {', '.join(settings.learners)} ({settings.mode}: {how})", frames, settings)

    def make_task(steps: int) -> DepthTask:
        if start:
            networks = {name: load_learner(learner).train() for name, learner in start.items()}
        else:
            networks = {name: build_learner(settings.members[name]) for name in settings.learners}
        protocol = protocol_of(settings, "validation", flip_averaging=False, size=settings.data.size)
        return live_task(settings, networks, build_stack(settings), steps=steps, protocol=protocol)

    return Prepared(make_task, parts[0], parts[1], sources)


def stack_task(settings: StackSettings, steps: int, corrections: Mapping[str, Tensor] | None = None) -> DepthTask:
    """The meta-learner with the scale-invariant log loss on the fused depth.

    Args:
        settings: Of the stack.
        steps: Length of the cycle.
        corrections: Of a stack that corrects, what was fitted before.
    """
    meta = build_stack(settings)
    if meta.correction is not None and corrections is not None:
        meta.correction.load_state_dict(corrections)

    def forward(network: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        seen = assemble(settings.inputs, batch["image"], batch["predictions"], max_depth=settings.data.max_depth)
        return meta.fuse(network(seen).float(), batch["predictions"])

    def losses(done: float) -> Losses:
        arguments = loss_arguments(settings, done)
        return lambda depth, batch: {
            "silog": scale_invariant_log_loss(depth, batch["depth"], batch["valid"], **arguments)
        }

    return DepthTask(
        f"meta {settings.inputs}",
        meta,
        forward=forward,
        losses=losses(0.0),
        later={start: losses(start) for start in phase_starts([settings])},
        depth=lambda depth: depth,
        settings=settings.training,
        steps=steps,
        seed=settings.seed,
        protocol=protocol_of(settings, "validation", flip_averaging=False, size=settings.data.size),
    )
