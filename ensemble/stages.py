"""The story: train the learners, fit the meta-learner to their cached predictions; every stage reads and writes files.

``ensemble.prediction`` caches between the two, ``ensemble.evaluation.evaluate`` scores after them.
"""

from collections.abc import Callable, Mapping, Sequence

import lightning
import torch
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor

from base_learners.losses import scale_invariant_log_loss
from ensemble.data import open_source
from ensemble.data.division import Role, division_of
from ensemble.data.loaders import Batch, FrameDataset, KeptFrames
from ensemble.data.source import Frame
from ensemble.data.splits import TrainingFrames
from ensemble.importing import check_free_name
from ensemble.joint import live_task
from ensemble.metrics.protocols import protocol_of
from ensemble.networks import TrainedLearner, common_data, frame_settings, load_learner, trained_learner
from ensemble.rows import LevelZero, cache_level_zero, level_zero, open_rows
from ensemble.runs.claims import FOLDS, PROCESSES, begin, claim, differing_keys, is_complete
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.layers import moved
from ensemble.settings.schema import StackSettings
from ensemble.training.fit import MakeTask, fit
from ensemble.training.learners import announce, preload, trackers
from ensemble.training.networks import build_learner, build_stack, weights_fingerprint
from ensemble.training.tasks import DepthTask
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

    Args:
        settings: Everything that decides the result.
        run: Files to write.
        outputs: Where the learners' runs and predictions are.
        fresh: Throw away what an earlier run with the same name has written.
        wandb: Track with Weights & Biases beside the log.
        loggers: Further trackers.
        callbacks: Further ones, for example to stop a fit early.
        kept: Decoded frames that the fits of one process share.

    Raises:
        ValueError: Learners are not trained, rows are stale, or the run was begun with other settings.
    """
    check_free_name(run.folder.name)
    if settings.mode != "frozen":
        prepared = _prepare_live(settings, run, outputs, fresh=fresh)
    else:
        prepared = _prepare_frozen(settings, run, outputs, fresh=fresh)
    if prepared is None:
        return run
    make_task, training, validation = prepared
    preload(settings, training, validation, kept=kept)
    torch.manual_seed(settings.seed)
    fit(
        make_task,
        training,
        validation,
        settings.training,
        run,
        seed=settings.seed,
        loggers=[*trackers(settings, run.folder.name, run, enabled=wandb), *loggers],
        callbacks=callbacks,
    )
    return run


Prepared = tuple[MakeTask, FrameDataset, FrameDataset]
"""What a fit needs: the task, frames to fit, frames to validate with."""


def _prepare_frozen(settings: StackSettings, run: Run, outputs: Outputs, *, fresh: bool) -> Prepared | None:
    """The meta-learner over rows of its learners; ``None`` where the run is complete."""
    learners = level_zero_of(settings, outputs, run)
    check_same_frames(settings, learners)
    source = open_source(settings.data)
    division = division_of(outputs, settings.experiment, source, settings.data)
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
        rows = {each.name: open_rows(each, outputs, source, part, role, division) for each in learners}
        parts.append(FrameDataset(source, part, settings.data, rows))
    claim(run, settings, sources)
    kind = "out-of-fold" if settings.rows == "oof" else "in-sample: the learners were trained on these frames"
    title = f"stack {settings.inputs} over {', '.join(settings.learners)} (rows: {settings.rows}, {kind})"
    announce(title, frames, settings)
    return lambda steps: stack_task(settings, steps), parts[0], parts[1]


def _prepare_live(settings: StackSettings, run: Run, outputs: Outputs, *, fresh: bool) -> Prepared | None:
    """Learners and meta-learner together: learners of finished runs, or all of them from the start."""
    source = open_source(settings.data)
    division = division_of(outputs, settings.experiment, source, settings.data)
    sources = division.sources(source, None)
    start: dict[str, TrainedLearner] = {}
    if settings.mode == "finetune":
        root = settings.data.root
        start = {name: trained_learner(outputs, settings.experiment, name, root=root) for name in settings.learners}
        check_same_frames(settings, [LevelZero((learner,)) for learner in start.values()])
        sources |= {learner.key: learner.weights for learner in start.values()}
    if begin(run, settings, fresh=fresh, keep_both="--name NAME", sources=sources):
        return None
    frames = division.frames
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

    return make_task, parts[0], parts[1]


def stack_task(settings: StackSettings, steps: int) -> DepthTask:
    """The meta-learner with the scale-invariant log loss on the fused depth."""
    meta = build_stack(settings)

    def forward(network: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
        seen = assemble(settings.inputs, batch["image"], batch["predictions"], max_depth=settings.data.max_depth)
        return meta.fuse(network(seen).float(), batch["predictions"])

    def losses(depth: Tensor, batch: Batch) -> Mapping[str, Tensor]:
        return {"silog": scale_invariant_log_loss(depth, batch["depth"], batch["valid"], **settings.loss)}

    return DepthTask(
        f"meta {settings.inputs}",
        meta,
        forward=forward,
        losses=losses,
        depth=lambda depth: depth,
        settings=settings.training,
        steps=steps,
        seed=settings.seed,
        protocol=protocol_of(settings, "validation", flip_averaging=False, size=settings.data.size),
    )


def level_zero_of(settings: StackSettings, outputs: Outputs, run: Run) -> tuple[LevelZero, ...]:
    """The learners that a stack weighs, with the models that it needs of each; its own where they were trained with it.

    Raises:
        ValueError: A model is not trained; the message holds the command that does it.
    """
    if settings.mode != "frozen":
        members = {name: moved(own, settings.data.root) for name, own in settings.members.items()}
        return tuple(
            LevelZero((TrainedLearner(own, run, weights_fingerprint(own, run), prefix=f"learners.{name}."),))
            for name, own in members.items()
        )
    wanted = {"rows": settings.rows, "level0": settings.level0, "root": settings.data.root}
    return tuple(level_zero(outputs, settings.experiment, name, **wanted) for name in settings.learners)


def rests_on(learners: Sequence[LevelZero]) -> dict[str, str]:
    """Fingerprints of the weights that a stack rests on."""
    return {key: made_from for learner in learners for key, made_from in learner.rests_on.items()}


def check_same_frames(settings: StackSettings, learners: Sequence[LevelZero]) -> None:
    """Refuse data settings of a stack under which it would see other frames than its learners.

    Raises:
        ValueError: Frames, sizes or depth ranges differ.
    """
    data = common_data([model for learner in learners for model in learner.models])
    differing = differing_keys(frame_settings(data), frame_settings(settings.data))
    if differing:
        raise ValueError(
            f"the learners of experiment {settings.experiment} were trained on other data than asked for now: "
            f"{'; '.join(differing)}. Leave these settings out: they are taken from the learners' runs"
        )
