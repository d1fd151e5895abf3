"""What the storage knows of a study, as plain records, and whether it is still the same study."""

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ensemble.metrics.formulas import METRICS
from ensemble.runs.claims import differing_keys
from ensemble.runs.refusals import DamagedError
from ensemble.runs.verify import Complaint
from ensemble.settings.trees import SettingsError, read_yaml
from ensemble.studies.design.arms import Arm, arms_of
from ensemble.studies.design.study_file import COSTS, StudySettings
from ensemble.studies.storage.addresses import EXPECTED, shown_url
from ensemble.studies.storage.connection import existing_storage, storage_may_fail
from ensemble.studies.storage.folders import StudyFolder, outcome_file, read_outcome

OVER_QUOTA, REASON, SPENT, SECONDS, FOLDER = "surplus", "reason", "spent", "seconds", "folder"
"""Names of what trials tell beside their values."""

DEFINITION, SAMPLER, VERSION = "definition", "sampler", "optuna"
"""Names of what an arm's part of the storage tells."""

MAY_CHANGE = ("about", "config", "trials", "storage", "prepare")
"""Keys of a study file that change no trial."""

State = Literal["waiting", "running", "complete", "pruned", "failed", "lost"]


@dataclass(frozen=True)
class Trial:
    """One trial."""

    arm: str
    number: int  # within the arm
    state: State  # ``failed`` has a reason of its own; ``lost`` was killed from outside and does not count
    values: tuple[float, ...]  # of the objectives, where it is complete
    numbers: Mapping[str, Any]  # tuned setting -> value
    reason: str  # why it was pruned or failed
    spent: float  # of the budget
    seconds: float  # wall time
    feasible: bool  # whether it keeps to all constraints
    folder: str  # of its run, relative to the trials of its arm
    ended: float | None  # seconds since the epoch
    frozen: FrozenTrial = field(repr=False)  # as Optuna keeps it

    @property
    def finished(self) -> bool:
        """Whether it will not be run again."""
        return self.state in ("complete", "pruned", "failed")


def part_name(study: StudySettings, arm: Arm) -> str:
    """Name of an arm's part of the storage; samplers and pruners see one part, never two arms together."""
    return f"{study.name}/{arm.name}"


def directions(study: StudySettings) -> list[Literal["maximize", "minimize"]]:
    """Of the objectives."""
    return ["maximize" if is_higher_better(name) else "minimize" for name in study.objectives]


def is_higher_better(objective: str) -> bool:
    """Whether more of an objective is better."""
    return COSTS[objective] if objective in COSTS else METRICS[objective].higher_is_better


def open_part(study: StudySettings, arm: Arm, storage: BaseStorage) -> optuna.Study:
    """An arm's part of the storage, made where it is missing.

    Raises:
        SettingsError: It holds trials of another study of this name.
    """
    part = optuna.create_study(
        study_name=part_name(study, arm), storage=storage, directions=directions(study), load_if_exists=True
    )
    asked = defined(study)
    if part.user_attrs.get(DEFINITION) == asked:
        return part
    if DEFINITION in part.user_attrs and part.get_trials(deepcopy=False):
        differing = differing_keys(part.user_attrs[DEFINITION], asked)
        raise SettingsError(
            f"{study.name}: the study file was changed after trials exist ({'; '.join(differing)}). "
            "Change it back, or give the study another name"
        )
    part.set_user_attr(DEFINITION, asked)
    part.set_user_attr(SAMPLER, study.sampler.model_dump(mode="json"))
    part.set_user_attr(VERSION, optuna.__version__)
    return part


def defined(study: StudySettings) -> dict[str, Any]:
    """What must not change while a study has trials; of the experiment file that is its content, not its place."""
    tree = {key: value for key, value in study.model_dump(mode="json").items() if key not in MAY_CHANGE}
    if study.config is not None:
        content = json.dumps(read_yaml(study.config), sort_keys=True, default=str)
        tree["config"] = hashlib.sha256(content.encode()).hexdigest()[:16]
    return tree


def trials_of(study: StudySettings, storage: BaseStorage) -> list[Trial]:
    """Every trial of every arm that has been begun.

    Raises:
        ValueError: What the storage holds is no trials.
    """
    known = set(optuna.get_all_study_names(storage))
    begun = [arm for arm in arms_of(study) if part_name(study, arm) in known]
    return [
        trial
        for arm in begun
        for trial in records(arm, optuna.load_study(study_name=part_name(study, arm), storage=storage))
    ]


def begun_trials(study: StudySettings, url: str, folder: StudyFolder) -> list[Trial]:
    """The trials at an address for those who only look at them: nothing is made there.

    Raises:
        SettingsError: The study has no trial there.
        ValueError: A trial is not told there as its outcome in the folder of the study has it.
        StorageDownError: The storage does not answer.
    """
    with storage_may_fail(url):
        storage = existing_storage(url, study.storage)
        found = [] if storage is None else trials_of(study, storage)
    if not found:
        raise SettingsError(
            f"{shown_url(url)}: {study.name} has no trial there. Name the storage that its trials were run with "
            f"(--storage {EXPECTED}), or run them: python -m ensemble.study run FILE"
        )
    for complaint in filter(None, (differing(trial, folder) for trial in found)):
        raise ValueError(complaint.told)
    return found


def differing(trial: Trial, folder: StudyFolder) -> Complaint | None:
    """What is wrong with a trial that is not told in the storage as its outcome has it, which is written first.

    Raises:
        DamagedError: The outcome itself is not as it was written.
    """
    run = folder.trial(trial.arm, trial.folder)
    found = read_outcome(run) if trial.state in ("complete", "pruned") else None
    if found is None:
        return None
    told = {
        "state": trial.state,
        "values": [*trial.values],
        "params": {**trial.numbers},
        "attributes": {key: trial.frozen.user_attrs.get(key) for key in found["attributes"]},
        "constraints": {key: trial.frozen.constraints.get(key) for key in found["constraints"]},
    }
    wrong = [key for key, value in told.items() if found.get(key, value) != value]
    if not wrong or ("attributes" in wrong and found.get("number") != trial.number):
        return None  # a trial that was run again on another machine has told what is found there
    at = ", ".join(f"{key}: {told[key]} found, {found[key]} expected by {outcome_file(run)}" for key in wrong)
    path = folder.database if folder.database.is_file() else folder.folder
    error = DamagedError(path, f"trial {trial.number} of {trial.arm}: {at}")
    mend = _values_back(folder.database, trial, found["values"]) if wrong == ["values"] and path.is_file() else ""
    return Complaint(path, str(error), mend=mend or f"# bring the trials of {folder.folder} back from a copy")


def _values_back(database: Path, trial: Trial, values: Sequence[float]) -> str:
    rows = [(value, trial.frozen._trial_id, objective) for objective, value in enumerate(values)]
    change = "UPDATE trial_values SET value = ? WHERE trial_id = ? AND objective = ?"
    code = f"import sqlite3; c = sqlite3.connect({str(database)!r}); c.executemany({change!r}, {rows!r}); c.commit()"
    return shlex.join(["python", "-c", code])


def records(arm: Arm, part: optuna.Study) -> list[Trial]:
    """The trials of one arm, without those that were one too many.

    Raises:
        ValueError: What the storage holds of one is no trial.
    """
    trials = part.get_trials(deepcopy=False)
    objectives = len(part.directions)
    for place, trial in enumerate(trials):
        counted = len(trial.values or ()) if trial.state == TrialState.COMPLETE else objectives
        if trial.number != place or counted != objectives:
            raise ValueError(
                f"{part.study_name}: the trials are damaged: number {trial.number} found where {place} is expected, "
                f"with {counted} of {objectives} values; bring them back from a copy"
            )
    return [_record(arm.name, trial) for trial in trials if not trial.user_attrs.get(OVER_QUOTA)]


def best_of(study: StudySettings, trials: Iterable[Trial]) -> Trial | None:
    """The complete trial that is best in the metric and keeps to the constraints; ``None`` where there is none."""
    at = study.objectives.index(study.metric)
    sign = -1 if is_higher_better(study.metric) else 1
    found = [trial for trial in trials if trial.state == "complete" and trial.feasible]
    return min(found, key=lambda trial: (sign * trial.values[at], trial.number), default=None)


def _record(arm: str, trial: FrozenTrial) -> Trial:
    attributes = trial.user_attrs
    states: dict[TrialState, State] = {
        TrialState.WAITING: "waiting",
        TrialState.RUNNING: "running",
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed" if REASON in attributes else "lost",
    }
    return Trial(
        arm=arm,
        number=trial.number,
        state=states[trial.state],
        values=tuple(trial.values or ()) if trial.state == TrialState.COMPLETE else (),
        numbers=trial.params,
        reason=attributes.get(REASON, ""),
        spent=attributes.get(SPENT, 0.0),
        seconds=attributes.get(SECONDS, 0.0),
        feasible=all(value <= 0 for value in trial.constraints.values()),
        folder=attributes.get(FOLDER, str(trial.number)),
        ended=None if trial.datetime_complete is None else trial.datetime_complete.timestamp(),
        frozen=trial,
    )
