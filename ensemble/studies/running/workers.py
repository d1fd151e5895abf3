"""Runs trials until there are enough: one process after another may die, what it began is run again by others."""

import contextlib
import json
import os
import socket
import sys
import time
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ensemble.console import messages
from ensemble.runs.paths import Outputs
from ensemble.runs.stopping import Stopped, stop_within, stoppable
from ensemble.studies.design.arms import Arm, arms_of
from ensemble.studies.design.study_file import StudySettings
from ensemble.studies.running.progress import trial_line
from ensemble.studies.running.trials import (
    WORKER,
    OverQuotaError,
    TrialFailedError,
    WorkerContext,
    process_start,
    run_trial,
    this_process,
)
from ensemble.studies.storage.addresses import shown_url
from ensemble.studies.storage.connection import (
    DOWN,
    GIVEN_BACK,
    PatientStorage,
    StorageDownError,
    open_storage,
    patiently,
    quiet,
    refuse_broken,
    retry,
    storage_may_fail,
)
from ensemble.studies.storage.folders import read_outcome
from ensemble.studies.storage.records import FOLDER, Trial, open_part, records

HOPELESS = 3
"""Trials of an arm that fail before any succeeds; then the arm is left."""

ADOPTED = "adopted"
"""Name of the note that a trial holds the outcome of a lost one."""

DOWN_STATUS = 3
"""Exit status where the storage is down."""


def work(context: WorkerContext, *, index: int = 0, deadline: float | None = None) -> None:
    """Run trials until every arm has enough, or the time is over: after ``deadline``, in seconds since the epoch.

    Raises:
        StorageDownError: The storage stayed down for longer than the study's patience.
    """
    study = context.study
    storage = open_storage(context.url, study.storage)
    parts = {arm: open_part(study, arm, storage) for arm in arms_of(study)}
    while deadline is None or time.time() < deadline:
        try:
            retire_dead(context, parts, storage)
            arm = next_arm(study, parts)
            if arm is None:
                alive = any(trial.state == "running" for trial in _all(parts))
                if not alive or not isinstance(storage, PatientStorage):  # a journal knows no signs of life
                    return
                time.sleep(min(study.storage.heartbeat, 5))  # whoever runs it may die
                continue
            _one_trial(context, arm, parts[arm], index)
        except DOWN as error:
            refuse_broken(context.url, error)
            if context.gave_up is not None:
                raise context.gave_up from error
            patiently(storage.get_all_studies, context.url, timeout=study.storage.timeout)


def next_arm(study: StudySettings, parts: dict[Arm, optuna.Study]) -> Arm | None:
    """The arm that has the fewest trials, as long as it needs any."""
    wanted: list[tuple[int, int, Arm]] = []
    for order, (arm, part) in enumerate(parts.items()):
        found = records(arm, part)
        waiting = sum(trial.state == "waiting" for trial in found)
        begun = sum(trial.state not in ("waiting", "lost") for trial in found)
        if waiting or (begun < study.trials and not is_hopeless(found)):
            wanted.append((begun, order, arm))
    return min(wanted, default=(0, 0, None))[2]


def is_hopeless(found: list[Trial]) -> bool:
    """Whether an arm has only failed so far, again and again."""
    failed = sum(trial.state == "failed" for trial in found)
    return failed >= HOPELESS and not any(trial.state in ("complete", "pruned") for trial in found)


def retire_dead(context: WorkerContext, parts: dict[Arm, optuna.Study], storage: BaseStorage) -> None:
    """End trials whose process is dead: adopt what they left in a file, else put them in line once more.

    Processes of this machine are looked up; those of others are missed by their heartbeat.
    """
    again = retry(context.study.storage)
    for arm, part in parts.items():
        with quiet():
            optuna.storages.fail_stale_trials(part)
        for trial in part.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not _is_dead(trial, context.study.storage.grace):
                continue
            try:
                part.tell(trial.number, state=TrialState.FAIL)
            except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
                continue  # another worker was faster
            if not _adopt(context, arm, part, trial):
                again(part, part.get_trials()[trial.number])


def adopt_lost(context: WorkerContext, storage: BaseStorage) -> int:
    """Give trials that ended while the storage was down the outcome that they left in a file; returns how many."""
    count = 0
    for arm in arms_of(context.study):
        part = open_part(context.study, arm, storage)
        found = part.get_trials()
        taken = {trial.system_attrs.get("failed_trial") for trial in found}
        taken |= {trial.user_attrs.get(ADOPTED) for trial in found}
        taken |= {number for trial in found for number in trial.system_attrs.get("retry_history", [])}
        taken |= {number for trial in found for number in trial.system_attrs.get(GIVEN_BACK, [])}
        for trial, record in zip(found, _states(arm, part), strict=True):
            if record == "lost" and trial.number not in taken:
                count += _adopt(context, arm, part, trial)
    return count


def sampler_of(study: StudySettings, arm: int, trials: int, worker: int) -> BaseSampler:
    """Draws the numbers of one trial; where one worker runs, a study that goes on draws what it would have drawn."""
    seed = int(np.random.SeedSequence([study.sampler.seed, arm, trials, worker]).generate_state(1)[0])
    if study.sampler.kind == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, n_startup_trials=study.sampler.startup)


def worker_number(index: int) -> int:
    """A worker's number among those of all machines and Slurm tasks; plain ``index`` where there is one machine."""
    task = os.environ.get("SLURM_ARRAY_TASK_ID") or os.environ.get("SLURM_JOB_ID")
    return index if task is None else zlib.crc32(f"{os.uname().nodename}/{task}/{index}".encode())


def pruner_of(study: StudySettings) -> BasePruner:
    """Stops trials early; steps are percent of the budget."""
    pruner = study.pruner
    if pruner.kind == "median":
        return MedianPruner(n_startup_trials=pruner.startup, n_warmup_steps=pruner.warmup)
    if pruner.kind == "hyperband":
        return HyperbandPruner(min_resource=pruner.warmup, max_resource=100, reduction_factor=pruner.reduction)
    return NopPruner()


def _one_trial(context: WorkerContext, arm: Arm, part: optuna.Study, index: int) -> None:
    study = context.study
    order = [each.name for each in arms_of(study)].index(arm.name)
    begun = len(part.get_trials(deepcopy=False))
    part.sampler, part.pruner = sampler_of(study, order, _drawn(part), worker_number(index)), pruner_of(study)

    ours: list[int] = []

    def objective(trial: optuna.Trial) -> tuple[float, ...]:
        ours.append(trial.number)
        try:
            return run_trial(context, arm, trial)
        except StorageDownError as error:
            context.gave_up = error
            raise

    try:
        _optimise(part, objective)
    except Stopped:
        _give_back(context, arm, part, ours)
        raise
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):  # Optuna refuses to tell a trial twice
        if not (ours and part.get_trials(deepcopy=False)[ours[0]].state.is_finished()):
            raise
        messages.print(
            f"{study.name}: another worker took a trial of {arm.name} for lost while it ran here, because it had not "
            f"been heard of for {study.storage.grace} s; what it found is kept in its folder, and is taken from there"
        )
    for record in records(arm, part):
        if record.number >= begun and record.finished:
            messages.print(trial_line(study, record))


def _drawn(part: optuna.Study) -> int:
    """Trials of an arm that were drawn before the next one, each once, however often it was run or adopted.

    One that is in line again may have numbers still to draw: those that it would have had.
    """
    found = part.get_trials(deepcopy=False)
    own = [each for each in found if "failed_trial" not in each.system_attrs and ADOPTED not in each.user_attrs]
    return len(own) - sum(each.state == TrialState.WAITING for each in found)


def _optimise(part: optuna.Study, objective: Callable[[optuna.Trial], tuple[float, ...]]) -> None:
    try:
        with quiet():
            part.optimize(objective, n_trials=1, catch=(TrialFailedError, OverQuotaError))
    except (UnboundLocalError, AssertionError) as error:  # how Optuna 5.0 ends a trial that it cannot tell of, such as
        cause = error.__context__  # where its storage is down or its disk is full (study/_optimize.py)
        while cause is not None and not isinstance(cause, (*DOWN, OSError, Stopped)):
            cause = cause.__context__
        if cause is None:
            raise
        raise cause from error


def _give_back(context: WorkerContext, arm: Arm, part: optuna.Study, ours: list[int]) -> None:
    """Let others have the trial of a worker that was asked to stop at once; where the storage is down, they miss it."""
    with contextlib.suppress(*DOWN):
        for number in ours:
            trial = part.get_trials()[number]
            if trial.state != TrialState.RUNNING:
                continue
            part.tell(number, state=TrialState.FAIL)
            if not _adopt(context, arm, part, trial):
                retry(context.study.storage).give_back(part, trial)


def _adopt(context: WorkerContext, arm: Arm, part: optuna.Study, trial: FrozenTrial) -> bool:
    """Add a finished trial with the outcome that a dead one left; ``False`` where it left none."""
    folder = trial.user_attrs.get(FOLDER, str(trial.system_attrs.get("failed_trial", trial.number)))
    found = read_outcome(context.folder.trial(arm.name, folder))
    if found is None:
        return False
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    complete = found["state"] == "complete"
    part.add_trial(
        optuna.create_trial(
            state=states[found["state"]],
            values=found["values"] if complete else None,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={**trial.user_attrs, **found["attributes"], ADOPTED: trial.number},
            intermediate_values=trial.intermediate_values,
            constraints=found["constraints"],
        )
    )
    return True


def _states(arm: Arm, part: optuna.Study) -> list[str]:
    known = {record.number: record.state for record in records(arm, part)}
    return [known.get(trial.number, "surplus") for trial in part.get_trials(deepcopy=False)]


def _all(parts: dict[Arm, optuna.Study]) -> list[Trial]:
    return [trial for arm, part in parts.items() for trial in records(arm, part)]


def _is_dead(trial: FrozenTrial, grace: float) -> bool:
    """Whether the process that ran it is gone from this machine; this process itself is between two trials.

    Whoever dies before the first word about a trial leaves no heartbeat that could be missed.
    """
    if WORKER not in trial.user_attrs:
        begun = trial.datetime_start
        return begun is not None and (datetime.now() - begun).total_seconds() > grace
    host, pid, start = trial.user_attrs[WORKER]
    if host != socket.gethostname():
        return False
    return [host, pid, start] == this_process() or process_start(int(pid)) != start


def main(given: dict[str, Any]) -> int:
    """One worker process; returns its exit status."""
    with stoppable():
        try:
            return _worked(given)
        except Stopped as stop:
            messages.print(str(stop))
            return stop.status


def _worked(given: dict[str, Any]) -> int:
    context = WorkerContext(
        study=StudySettings.model_validate_json(given["study"]),
        outputs=Outputs(Path(given["cache"]), named=given["named"]),
        url=given["url"],
        root=None if given["root"] is None else Path(given["root"]),
        wandb=given["wandb"],
    )
    try:
        with storage_may_fail(context.url):
            work(context, index=given["index"], deadline=given["deadline"])
    except StorageDownError as error:
        messages.print(f"error: {error}")
        return DOWN_STATUS
    except (ValueError, OSError) as error:
        if (stop := stop_within(error)) is not None:
            raise stop from error
        if os.environ.get("STACKDEPTH_TRACEBACK"):
            raise
        messages.print(f"error: {error}")
        return 1
    messages.print(f"nothing left to do in {shown_url(context.url)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(json.load(sys.stdin)))
