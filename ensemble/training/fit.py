"""Puts task, batches, checkpoints and tracking together and lets Lightning run them, from the start or going on."""

import functools
import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.strategies import DDPStrategy

from ensemble.console import messages
from ensemble.console.pulse import pulse
from ensemble.data.loaders import FrameDataset, OrderedBatches, TrainingBatches, affordable_workers, loader
from ensemble.runs.launched import told
from ensemble.runs.locks import StoreLock
from ensemble.runs.paths import Run
from ensemble.runs.seals import write_result
from ensemble.runs.stopping import held_back
from ensemble.settings.schema import TrainingSettings
from ensemble.settings.trees import SettingsError
from ensemble.training.checkpoints import AtomicCheckpointIO, KeepCheckpoints, read_checkpoint
from ensemble.training.layout import with_fast_points
from ensemble.training.networks import sealed_weights
from ensemble.training.optimisation.budget import Budget, Now
from ensemble.training.optimisation.precision import keep_slow_depthwise_in_float32
from ensemble.training.optimisation.schedule import SHAPE, climb, cycle
from ensemble.training.range_test import RangeCurve, steepest_fall
from ensemble.training.stopping import StopWhereSafe, as_stopped
from ensemble.training.tasks import DepthTask
from ensemble.training.trackers.log import EpochLines, JsonLinesLogger, TimeLeft

MakeTask = Callable[[int], DepthTask]
"""Builds the task for a cycle of so many optimiser steps."""

MakeBatches = Callable[..., TrainingBatches]
"""Deals frames to steps, with the arguments of ``TrainingBatches``."""

RANGE = (1e-6, 1.0)
"""Learning rates between which the range test climbs."""


def fit(
    make_task: MakeTask,
    training: FrameDataset,
    validation: FrameDataset,
    settings: TrainingSettings,
    run: Run,
    *,
    seed: int,
    claim: Callable[[], None] = lambda: None,
    loggers: Sequence[Logger] = (),
    callbacks: Sequence[lightning.Callback] = (),
    finish: Callable[[], Mapping[str, Any]] = dict,
    now: Now = time.monotonic,
    make_batches: MakeBatches = TrainingBatches,
) -> None:
    """Train from the start, or go on from ``run.last`` as if the run had never stopped.

    The cycle of the task has so many optimiser steps as ``make_task`` is given; with a budget of seconds, which ``now``
    measures, it follows the time instead. Validation frames are of other scenes and select the best weights, ``seed``
    gives the order of frames and their augmentation, and ``callbacks`` are called after those that keep checkpoints.
    ``claim`` is called before the first step, when nothing about the settings can be refused any more; ``finish`` after
    the last one, by one process: it may change the best weights, and what it returns goes into the result.

    Raises:
        ValueError: The batch does not fit the frames or the processes, the checkpoint is damaged, or another process
            is training this run.
        Stopped: A signal has ended the training; its state is kept.
    """
    process, processes = _place()
    with ExitStack() as held:
        if process == 0:
            held.enter_context(StoreLock(run.folder))
        batches = _training_batches(training, settings, seed, make_batches)
        steps_per_epoch = len(batches) // settings.accumulate
        budget = Budget(settings, steps_per_epoch, now=now)
        task = _prepared(make_task(budget.steps), settings)
        if budget.unit == "seconds":
            task.rate = _cycle_in_time(budget, settings)
            task.done = lambda step: budget.seconds / budget.asked
        done = _progress(run, batches, steps_per_epoch)
        keep = KeepCheckpoints(run, settings, budget)
        trainer = _trainer(
            settings,
            run,
            max_epochs=budget.max_epochs,  # with max_steps, Lightning resumes wrongly after a whole epoch
            check_val_every_n_epoch=settings.validate_every,
            callbacks=[
                budget,
                keep,
                EpochLines(task.name, settings.select),
                TimeLeft(task.name, budget),
                *callbacks,
                *_progress_bar(),
                StopWhereSafe(run, settings, budget),
            ],
            logger=[JsonLinesLogger(run.log, done), *loggers],
        )
        workers = affordable_workers(training.settings.workers)
        train_loader = loader(training, batches, workers=workers)
        per_process = settings.batch_size // settings.accumulate // processes
        order = OrderedBatches(len(validation), per_process, process=process, processes=processes)
        validation_loader = loader(validation, order, workers=workers)
        claim()
        with warnings.catch_warnings():
            _silence_expected()
            with held_back(), as_stopped(), _bar():
                trainer.fit(task, train_loader, validation_loader, ckpt_path=run.last if done else None)
            if keep.validated_step != trainer.global_step:
                trainer.validate(task, validation_loader, verbose=False)
            trainer.save_checkpoint(run.last)
        if trainer.is_global_zero:
            result = {
                "metric": settings.select,
                "best": keep.best,
                "best_step": keep.best_step,
                "steps": trainer.global_step,
                "budget": budget.record(trainer.global_step),
                "seconds": round(keep.seconds, 1),
                "device": str(trainer.strategy.root_device),
            }
            result |= finish()
            write_result(run.result, result, run.written, weights=sealed_weights(run))


def lr_range(
    make_task: MakeTask, training: FrameDataset, settings: TrainingSettings, run: Run, *, seed: int, steps: int
) -> tuple[list[float], list[float], float | None]:
    """Learning-rate range test: the loss while the rate climbs by a constant factor per step.

    The test has so many optimiser steps. Nothing is written: the network that is trained here is thrown away, and the
    folder of ``run`` is where Lightning believes to be.

    Returns:
        Rates, smoothed losses, and the rate where the loss falls fastest (``None`` where it never falls). The curve
        ends early where the loss diverges.

    Raises:
        FloatingPointError: The loss is not finite from the first step on.

    Source: Smith 2017, section 3.3.
    """
    task = _prepared(make_task(steps), settings)
    lowest, highest = (rate / settings.lr for rate in RANGE)
    task.rate = functools.partial(climb, steps=steps, lowest=lowest, highest=highest)
    task.done = lambda step: 0.0
    curve = RangeCurve()
    callbacks = [curve, *_progress_bar()]
    trainer = _trainer(
        settings, run, max_steps=steps, max_epochs=-1, limit_val_batches=0, callbacks=callbacks, logger=False
    )
    workers = affordable_workers(training.settings.workers)
    batches = loader(training, _training_batches(training, settings, seed), workers=workers)
    with warnings.catch_warnings():
        _silence_expected()
        try:
            with _bar():
                trainer.fit(task, batches)
        except FloatingPointError:
            if not curve.losses:
                raise
    return curve.rates, curve.losses, steepest_fall(curve.rates, curve.measured)


def _prepared(task: DepthTask, settings: TrainingSettings) -> DepthTask:
    """The task with its weights laid out in memory as asked for; what checkpoints hold does not depend on it."""
    on_gpu = _on_gpu(settings)
    if settings.memory_format == "channels_last" or (settings.memory_format == "auto" and not on_gpu):
        task.network.to(memory_format=torch.channels_last)
    with_fast_points(task.network, processor=not on_gpu)
    if settings.precision == "bf16-mixed" and not on_gpu:
        keep_slow_depthwise_in_float32(task.network)
    return task


def _on_gpu(settings: TrainingSettings) -> bool:
    return settings.device != "cpu" and torch.cuda.is_available()


def _cycle_in_time(budget: Budget, settings: TrainingSettings) -> Callable[[int], float]:
    """The rate as a function of the training time, whatever the step."""
    shape = settings.model_dump(include=SHAPE)
    return lambda step: cycle(budget.seconds, budget.asked, **shape)


def _training_batches(
    training: FrameDataset, settings: TrainingSettings, seed: int, make: MakeBatches = TrainingBatches
) -> TrainingBatches:
    process, processes = _place()
    return make(
        len(training), settings.batch_size, seed, accumulate=settings.accumulate, process=process, processes=processes
    )


def _trainer(settings: TrainingSettings, run: Run, **arguments: Any) -> lightning.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    _, processes = _place()
    on_gpu = _on_gpu(settings)
    if settings.device == "cuda" and not on_gpu:
        raise SettingsError("training.device is cuda, but torch finds no CUDA device; set training.device=cpu")
    if settings.precision == "16-mixed" and not on_gpu:
        raise SettingsError("training.precision is 16-mixed, which needs a GPU; set training.precision=bf16-mixed")
    local = told("LOCAL_WORLD_SIZE", 1)
    return lightning.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=local,
        num_nodes=max(1, processes // local),
        strategy=DDPStrategy(process_group_backend="nccl" if on_gpu else "gloo") if processes > 1 else "auto",
        sync_batchnorm=on_gpu and processes > 1,
        precision=settings.precision,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip_norm,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=any(isinstance(callback, RichProgressBar) for callback in arguments["callbacks"]),
        default_root_dir=run.folder,
        plugins=[AtomicCheckpointIO()],
        **arguments,
    )


def _place() -> tuple[int, int]:
    """Rank of this process and number of processes, as torchrun says."""
    return told("RANK", 0), told("WORLD_SIZE", 1)


def _progress(run: Run, batches: TrainingBatches, steps_per_epoch: int) -> int:
    """Optimiser steps that the run has behind it; the order of frames goes on from there."""
    if not run.last.is_file():
        return 0
    done = int(read_checkpoint(run.last)["global_step"])
    epoch, step = divmod(done, steps_per_epoch)
    batches.set_epoch(epoch)
    batches.resume_at(epoch, step * batches.accumulate)
    if done:
        messages.print(f"  going on after step {done} (epoch {epoch + 1}, {step} of {steps_per_epoch} steps done)")
    return done


def _progress_bar() -> list[lightning.Callback]:
    return [RichProgressBar(leave=False, console_kwargs={"stderr": True})] if messages.is_terminal else []


def _bar() -> AbstractContextManager[None]:
    """While Lightning's bar moves, nothing else does."""
    return pulse.muted() if messages.is_terminal else nullcontext()


def _silence_expected() -> None:
    """Advice that does not apply here, for example because the order of frames is a function of the step alone."""
    for message in (
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*does not have many workers.*",
        ".*You defined a `validation_step` but have no `val_dataloader`.*",
        ".*your dataloader is not resumable.*",
        ".*GPU available but not used.*",
        ".*module\\(s\\) in eval mode at the start of training.*",
        ".*You are trying to `self.log\\(\\)` but.*",
        ".*The number of training batches .* is smaller than the logging interval.*",
    ):
        warnings.filterwarnings("ignore", message=message)
