"""One trial: numbers drawn for an arm, the fit of the stack, and what it found, kept in a file before it is told."""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning
import optuna
import torch
from lightning.pytorch.loggers.logger import Logger
from optuna.storages import RetryHeartbeatStaleTrialCallback

from ensemble.data.loaders import KeptFrames
from ensemble.distillation.lessons import open_teacher
from ensemble.runs.locks import LockedError, StoreLock
from ensemble.runs.paths import Outputs, Run
from ensemble.runs.seals import read_text, write_checked
from ensemble.runs.stopping import stop_within
from ensemble.settings.layers import Choice
from ensemble.settings.schema import LearnerSettings, StackSettings
from ensemble.settings.trees import assignments_of
from ensemble.stacking.cost import Costs
from ensemble.stacking.fit import fit_meta
from ensemble.stacking.joint import with_members
from ensemble.studies.design.arms import Arm, assigned, numbers_of, settings_of
from ensemble.studies.design.study_file import COSTS, NumberSettings, StudySettings, plain_number
from ensemble.studies.running.decoding import sharing_frames
from ensemble.studies.running.tracked import finish_trackers, start_tracker
from ensemble.studies.running.watching import KeepScores, ReportValues
from ensemble.studies.storage.connection import StorageDownError, patiently, quiet
from ensemble.studies.storage.folders import StudyFolder, outcome_file, read_outcome, scores_file, study_folder
from ensemble.studies.storage.records import FOLDER, OVER_QUOTA, REASON, SECONDS, SPENT, Trial, records
from ensemble.training.learners import train_learner

WORKER = "worker"
"""Name of the trial's note of who runs it."""

FAILURES = (FloatingPointError, ValueError, MemoryError, torch.OutOfMemoryError)
"""What makes a trial a failed one; everything else stops the worker."""


class OverQuotaError(Exception):
    """Another worker has begun the last trial that was asked for."""


class TrialFailedError(Exception):
    """A trial that failed by its own fault: training went NaN, or its settings do not fit."""


@dataclass
class WorkerContext:
    """What the trials of one worker share."""

    study: StudySettings
    outputs: Outputs  # where runs and predictions are
    url: str  # of the storage
    root: Path | None = None  # where the data are now
    wandb: bool = False  # track every trial with Weights & Biases as well
    frames: KeptFrames = field(default_factory=dict)  # decoded once per worker
    gave_up: StorageDownError | None = None  # why the worker stops, where the storage stayed down

    @property
    def folder(self) -> StudyFolder:
        """Of the study."""
        return study_folder(self.outputs, self.study.name)

    @cached_property
    def costs(self) -> Costs:
        """Measures every network once."""
        return Costs(self.outputs)


def run_trial(context: WorkerContext, arm: Arm, trial: optuna.Trial) -> tuple[float, ...]:
    """Fit one stack and judge it; what was found is written to a file before the storage is told.

    Raises:
        OverQuotaError: There are enough trials of this arm.
        TrialPruned: It was given up.
        TrialFailedError: Training went NaN, or the settings do not fit; the message names learner and step.
        StorageDownError: The storage stayed down; the outcome is kept in the trial's folder.
    """
    study = context.study
    _claim(study, arm, trial)
    numbers = {key: _drawn(trial, key, number) for key, number in numbers_of(study, arm).items()}
    with _folder(context, arm, trial) as run:
        found = read_outcome(run) or _fitted(context, arm, trial, numbers, run)
        patiently(
            lambda: tell_attributes(trial, found),
            context.url,
            timeout=study.storage.timeout,
            kept=f"the outcome of trial {trial.number} of {arm.name} is kept in {outcome_file(run)}",
        )
    if found["state"] == "pruned":
        raise optuna.TrialPruned(found["reason"])
    if found["state"] == "failed":
        raise TrialFailedError(found["reason"])
    return tuple(found["values"])


def study_settings(
    context: WorkerContext, arm: Arm, numbers: Mapping[str, Any], *, seed: int | None = None
) -> StackSettings | LearnerSettings:
    """The settings of a trial with those of the learners that are trained with it.

    Frames of a trial that trains learners are kept for the next one, unless the study sets ``data.preload`` itself.
    """
    study, outputs, root = context.study, context.outputs, context.root
    settings = settings_of(study, arm, numbers, outputs, root=root, seed=seed)
    shares = "data.preload" not in study.set
    if isinstance(settings, LearnerSettings):
        return sharing_frames(settings, outputs, context.frames) if shares else settings
    choice = Choice(settings.data.kind, root, study.config, assignments_of(assigned(study, arm, numbers)))
    if shares:
        settings = sharing_frames(settings, outputs, context.frames)
    return with_members(settings, outputs, choice)


def fit_trial(
    settings: StackSettings | LearnerSettings,
    run: Run,
    outputs: Outputs,
    *,
    callbacks: Sequence[lightning.Callback],
    loggers: Sequence[Logger] = (),
    kept: KeptFrames,
) -> Run:
    """Fit a stack, or train a learner alone or from its teacher, in a folder of the study."""
    given = {"callbacks": callbacks, "loggers": loggers, "kept": kept}
    if isinstance(settings, StackSettings):
        return fit_meta(settings, run, outputs, **given)
    return train_learner(settings, outputs, run=run, teacher=open_teacher(settings, outputs), **given)


def tell_attributes(trial: optuna.Trial, found: Mapping[str, Any]) -> None:
    """Tell the storage everything about a trial but its values."""
    for key, value in found["attributes"].items():
        trial.set_user_attr(key, value)
    for key, value in found["constraints"].items():
        if key not in trial.constraints:
            trial.set_constraint(key, value)


def distribution_of(number: NumberSettings) -> optuna.distributions.BaseDistribution:
    """The distribution that a tuned setting is drawn from."""
    if number.choices is not None:
        return optuna.distributions.CategoricalDistribution([_plain(choice) for choice in number.choices])
    low, high = number.low or 0.0, number.high or 0.0
    if number.whole:
        return optuna.distributions.IntDistribution(int(low), int(high), log=number.log, step=int(number.step or 1))
    return optuna.distributions.FloatDistribution(low, high, log=number.log, step=number.step)


def spelt(number: NumberSettings, value: Any) -> Any:
    """A drawn value as a setting."""
    if number.choices is None:
        return plain_number(value)
    return next(choice for choice in number.choices if _plain(choice) == value)


def tuned_numbers(study: StudySettings, arm: Arm, trial: Trial) -> dict[str, Any]:
    """What was drawn for a trial, by tuned setting."""
    numbers = numbers_of(study, arm).items()
    return {key: spelt(number, trial.numbers[key]) for key, number in numbers if key in trial.numbers}


def _drawn(trial: optuna.Trial, key: str, number: NumberSettings) -> Any:
    distribution = distribution_of(number)
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return spelt(number, trial.suggest_categorical(key, distribution.choices))
    if isinstance(distribution, optuna.distributions.IntDistribution):
        low, high = distribution.low, distribution.high
        return spelt(number, trial.suggest_int(key, low, high, log=distribution.log, step=distribution.step))
    low, high = number.low or 0.0, number.high or 0.0
    return spelt(number, trial.suggest_float(key, low, high, log=number.log, step=number.step))


def _plain(choice: Any) -> Any:
    """A choice as Optuna can keep it: lists as JSON."""
    return choice if choice is None or isinstance(choice, bool | int | float | str) else json.dumps(choice)


def _claim(study: StudySettings, arm: Arm, trial: optuna.Trial) -> None:
    """Say who runs the trial, unless as many as were asked for were begun before it (``OverQuotaError``)."""
    ahead = [each for each in records(arm, trial.study) if each.number < trial.number and each.state != "lost"]
    if len(ahead) >= study.trials:
        trial.set_user_attr(OVER_QUOTA, True)
        raise OverQuotaError
    trial.set_user_attr(WORKER, this_process())


def this_process() -> list[str]:
    """Host, number and start of this process."""
    return [socket.gethostname(), str(os.getpid()), process_start(os.getpid())]


def process_start(pid: int) -> str:
    """When a process began, in ticks since the machine did; empty where it is gone or that cannot be told."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if state == "Z" else rest[18]  # a zombie is dead, though nobody has asked how it ended


@contextmanager
def _folder(context: WorkerContext, arm: Arm, trial: optuna.Trial) -> Iterator[Run]:
    """The run of a trial; one that was killed goes on in the folder of its first attempt, unless that is in use."""
    with quiet():
        frozen = trial.study.get_trials(deepcopy=False)[trial.number]
        first = RetryHeartbeatStaleTrialCallback.retried_trial_number(frozen)
    names = [str(trial.number)] if first is None else [str(first), f"{first}-again-{trial.number}"]
    for name in names:
        run = context.folder.trial(arm.name, name)
        claim = run.folder / "claim"
        claim.mkdir(parents=True, exist_ok=True)
        lock = StoreLock(claim)  # beside that of the fit, which ends with it
        try:
            lock.acquire()
        except LockedError:
            if name == names[-1]:
                raise
            continue
        try:
            yield run
        finally:
            lock.release()
        return


def _fitted(
    context: WorkerContext, arm: Arm, trial: optuna.Trial, numbers: Mapping[str, Any], run: Run
) -> dict[str, Any]:
    """Fit a stack; the outcome as it stands in the trial's file."""
    study, started = context.study, time.monotonic()
    prune = study.pruner.kind != "none"
    report = ReportValues(trial, study.metric, prune=prune)
    told = {"arm": arm.name, **assigned(study, arm, numbers)}
    trackers = start_tracker(study.name, f"{arm.name}-{trial.number}", run, told) if context.wandb else []
    found: dict[str, Any] = {"state": "failed", "values": [], "reason": "", "constraints": {}, "number": trial.number}
    found["params"] = trial.params
    spent = 0.0
    try:
        settings = study_settings(context, arm, numbers)
        costs = _costs(context, settings)
        found["constraints"] = {key: costs[key] - limit for key, limit in study.constraints.limits.items()}
        over = [key for key, value in found["constraints"].items() if value > 0]
        if over:
            limits = study.constraints.limits
            told = ", ".join(f"{key} {costs[key]:.4g}, at most {limits[key]:.4g}" for key in over)
            raise optuna.TrialPruned(f"over the limit before training: {told}")
        fit_trial(
            settings,
            run,
            context.outputs,
            callbacks=[KeepScores(run), report],
            loggers=trackers,
            kept=context.frames,
        )
        result = run.read_result()
        measured = {**costs, **_further_metrics(study, run), study.metric: result["best"]}
        spent = result["budget"]["spent"]
        found |= {"state": "complete", "values": [measured[name] for name in study.objectives]}
    except optuna.TrialPruned as stop:
        found |= {"state": "pruned", "reason": str(stop)}
        spent = report.spent
    except FAILURES as error:
        if (stop := stop_within(error)) is not None:
            raise stop from error
        found["reason"] = str(error) or type(error).__name__
        spent = report.spent
    finally:
        finish_trackers(trackers)
    found["attributes"] = {
        SPENT: spent,
        SECONDS: round(time.monotonic() - started, 2),
        FOLDER: run.folder.name,
        **({REASON: found["reason"]} if found["reason"] else {}),
    }
    write_checked(outcome_file(run), (json.dumps(found, indent=2) + "\n").encode())
    return found


def _costs(context: WorkerContext, settings: StackSettings | LearnerSettings) -> dict[str, float]:
    if isinstance(settings, LearnerSettings):
        return {}
    wanted = {*context.study.constraints.limits, *(name for name in context.study.objectives if name in COSTS)}
    return context.costs.of(settings) if wanted else {}


def _further_metrics(study: StudySettings, run: Run) -> dict[str, float]:
    """Means over the validation frames of the objectives beside the first metric, where that was best."""
    names = [name for name in study.objectives if name not in COSTS and name != study.metric]
    if not names:
        return {}
    frames = json.loads(read_text(scores_file(run))).values()
    return {name: sum(scores[name] for scores in frames) / len(frames) for name in names}
