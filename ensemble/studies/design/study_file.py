"""A study as a YAML file: what is asked, what is tuned, at which budget, judged by what; unknown keys are errors."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ensemble.settings.complaints import validated
from ensemble.settings.places import at_home
from ensemble.settings.schema import Name, Settings, TrainingSettings
from ensemble.settings.trees import SettingsError, Tree, nearest, read_yaml

METRICS = get_args(TrainingSettings.model_fields["select"].annotation)
"""Scores on the validation scenes that can be an objective."""

COSTS = {"parameters": False, "mul_adds": False, "milliseconds": False, "frames_per_second": True}
"""Costs of a whole stack that can be an objective, and whether more is better."""

ALIASES = {"training": "mode", "weights": "network.weights"}
"""Questions that have a shorter name than their setting."""

Percent = Annotated[int, Field(ge=1, le=99)]


class NumberSettings(Settings):
    """One tuned setting: a range, or a list of choices."""

    low: float | None = None
    high: float | None = None
    log: bool = False  # whether values are drawn evenly in their logarithm
    whole: bool = False  # whether only whole numbers are meant
    step: PositiveFloat | None = None  # distance of neighbouring values
    choices: Annotated[tuple[Any, ...], Field(min_length=2)] | None = None
    """Values instead of a range; lists are allowed, for example widths of a decoder."""
    only: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Arms in which it is tuned: question -> answers; every arm where absent."""

    @model_validator(mode="after")
    def _range_or_choices(self) -> Self:
        if (self.choices is None) == (self.low is None) or (self.low is None) != (self.high is None):
            raise ValueError("expected low and high, or choices")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"the range must ascend, found {self.low:g} .. {self.high:g}")
        if self.log and (self.low is None or self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0 and no step")
        if self.whole and any(value is not None and value % 1 for value in (self.low, self.high, self.step)):
            raise ValueError("whole: expected whole numbers for low, high and step")
        return self


class BudgetSettings(Settings):
    """What every trial may spend, the same in every arm; exactly one of the three."""

    steps: PositiveInt | None = None  # optimiser steps
    seconds: PositiveFloat | None = None  # seconds of training
    gpu_seconds: PositiveFloat | None = None  # seconds of training on one GPU; arms are refused where there is none

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.steps, self.seconds, self.gpu_seconds)) != 1:
            raise ValueError("expected exactly one of steps, seconds and gpu_seconds")
        return self

    @property
    def unit(self) -> str:
        """Name of the one that is given."""
        return next(name for name in BudgetSettings.model_fields if getattr(self, name) is not None)

    @property
    def amount(self) -> float:
        """How much of it a trial may spend."""
        return getattr(self, self.unit)

    @property
    def assignments(self) -> dict[str, Any]:
        """The settings of a run that it stands for."""
        if self.steps is not None:
            return {"training.max_steps": self.steps, "training.max_seconds": None}
        device = {"training.device": "cuda"} if self.gpu_seconds is not None else {}
        return {"training.max_steps": None, "training.max_seconds": self.amount, **device}


class SamplerSettings(Settings):
    """How numbers are drawn within an arm."""

    kind: Literal["tpe", "random"] = "tpe"  # ``tpe`` learns from the trials of the arm, ``random`` does not
    seed: NonNegativeInt = 0  # of the draws; the n-th draw of an arm follows from it alone where one worker runs
    startup: PositiveInt = 5  # random trials of an arm before TPE begins


class PrunerSettings(Settings):
    """Which trials are stopped early, judged against trials of their own arm at the same share of the budget."""

    kind: Literal["none", "median", "hyperband"] = "none"
    """``median`` stops what is worse than the median, ``hyperband`` halves again and again."""
    startup: PositiveInt = 4  # finished trials of an arm before the median counts
    warmup: Percent = 30  # percent of the budget that every trial may spend
    reduction: Annotated[int, Field(ge=2)] = 3  # of hyperband: one in so many goes on


class ConstraintSettings(Settings):
    """Limits on the cost of a whole stack: learners and meta-learner on one frame of the working size."""

    parameters: PositiveFloat | None = None  # most parameters
    mul_adds: PositiveFloat | None = None  # most multiply-adds
    milliseconds: PositiveFloat | None = None  # longest time for one frame on the device of training

    @property
    def limits(self) -> dict[str, float]:
        """Those that are given."""
        return {key: value for key, value in self.model_dump().items() if value is not None}


class StorageSettings(Settings):
    """How long workers wait for the storage and for each other."""

    timeout: PositiveFloat = 300.0  # seconds that a worker waits for a storage that is down before it gives up
    heartbeat: PositiveInt = 15  # seconds between two signs of life of a running trial (SQLite and PostgreSQL)
    grace: PositiveInt = 60  # seconds without a sign of life after which a trial counts as dead
    max_retry: NonNegativeInt = 3  # how often a dead trial is run again

    @model_validator(mode="after")
    def _grace_is_longer(self) -> Self:
        if self.grace <= self.heartbeat:
            raise ValueError(f"grace {self.grace} s must be longer than heartbeat {self.heartbeat} s")
        return self


class PreparedSettings(Settings):
    """Learners that are trained before the first trial where they are missing."""

    experiment: Name | None = None  # under which name; that of the study's experiment file where absent
    set: dict[str, Any] = Field(default_factory=dict)  # settings of all its learners, as with ``--set``
    learners: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of single learners on top: learner -> settings."""


class StudySettings(Settings):
    """A whole study."""

    name: Name  # of the study and of its folder
    about: str = ""  # what it asks, in one sentence
    learner: str | None = None
    """What a trial trains: this learner by itself, alone or from a teacher; a stack where absent."""
    config: Path | None = None  # experiment file, relative to the study file
    set: dict[str, Any] = Field(default_factory=dict)  # settings of every trial, as with ``--set``
    questions: Annotated[dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]], Field(min_length=1)]
    """Setting -> answers; every combination of answers is an arm. An answer may be several settings of a section, of
    which ``name`` is what it is called."""
    numbers: dict[str, NumberSettings] = Field(default_factory=dict)  # settings that are tuned within every arm
    objective: str | tuple[str, ...] = "abs_rel"
    """A metric on the validation scenes, or a list of metrics and costs. The first metric chooses the weights that all
    are measured with, and the best trial."""
    budget: BudgetSettings  # of a trial
    trials: PositiveInt = 12  # trials of every arm
    sampler: SamplerSettings = SamplerSettings()
    pruner: PrunerSettings = PrunerSettings()  # which trials are stopped early
    constraints: ConstraintSettings = ConstraintSettings()
    storage: StorageSettings = StorageSettings()
    prepare: tuple[PreparedSettings, ...] = ()
    """Experiments whose learners are trained first where they are missing; none where absent."""

    @model_validator(mode="after")
    def _objectives(self) -> Self:
        known = [*METRICS, *COSTS]
        for name in self.objectives:
            if name not in known:
                raise ValueError(f"objective: there is no {name!r}; {nearest(name, known)}")
        told = ", ".join(self.objectives) or "nothing"
        if not any(name in METRICS for name in self.objectives):
            raise ValueError(f"objective: expected one metric or more and any costs, found {told}")
        if len(set(self.objectives)) != len(self.objectives):
            raise ValueError(f"objective: one stands there twice, found {told}")
        if len(self.objectives) > 1 and self.pruner.kind != "none":
            raise ValueError("pruner: several objectives cannot be pruned by one of them; set pruner.kind to none")
        return self

    def says(self, key: str, value: object) -> bool:
        """A learner is written where there is one, so that studies of before agree."""
        return key != "learner" or value is not None

    @model_validator(mode="after")
    def _learners_have_no_costs(self) -> Self:
        costs = {*self.constraints.limits, *(name for name in self.objectives if name in COSTS)}
        if self.learner is not None and costs:
            raise ValueError(f"learner: costs are those of a whole stack; leave {', '.join(sorted(costs))} out")
        return self

    @model_validator(mode="after")
    def _answers_differ(self) -> Self:
        for question, answers in self.questions.items():
            if len({json.dumps(answer) for answer in answers}) < len(answers):
                raise ValueError(f"questions.{question}: an answer stands there twice")
        for key, number in self.numbers.items():
            for question, answers in number.only.items():
                for answer in answers:
                    if listed(answer) not in [listed(known) for known in self.questions.get(question, ())]:
                        raise ValueError(f"numbers.{key}.only: no arm answers {question} with {answer!r}")
        return self

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of all objectives."""
        return (self.objective,) if isinstance(self.objective, str) else self.objective

    @property
    def metric(self) -> str:
        """The first objective that is a score on the validation scenes: it chooses checkpoints and best trials."""
        return next(name for name in self.objectives if name in METRICS)


def read_study(
    path: Path,
    *,
    config: Path | None = None,
    assignments: Mapping[str, Any] | None = None,
    trials: int | None = None,
) -> StudySettings:
    """The study in a YAML file; ``config`` and ``trials`` replace those of the file, ``assignments`` win over ``set``.

    Raises:
        SettingsError: Anything unknown, of a wrong type, out of range or contradictory.
    """
    tree = read_yaml(path)
    if "switches" in tree:
        raise SettingsError(
            f"{path}: has switches, which are those of a sweep over one learner, expected questions of a study. "
            f"Run: python -m ensemble.study sweep {path}"
        )
    tree = with_overrides(tree, path, config, assignments)
    if trials is not None:
        tree["trials"] = trials
    return validated(StudySettings, tree, key="key", whole="the study", where=f"{path}: ")


def with_overrides(tree: Tree, path: Path, config: Path | None, assignments: Mapping[str, Any] | None) -> Tree:
    """What a file of a study or a sweep says, its experiment file by a whole path, after the words of a command."""
    changes: Tree = {}
    if config is not None:
        changes["config"] = str(at_home(config).absolute())
    elif isinstance(tree.get("config"), str):
        changes["config"] = str((path.absolute().parent / at_home(tree["config"])).resolve())
    if assignments and isinstance(tree.get("set", {}), dict):
        changes["set"] = {**tree.get("set", {}), **assignments}
    return {**tree, **changes}


def listed(answer: Any) -> Any:
    """An answer as YAML has it: a list where it holds several values."""
    return list(answer) if isinstance(answer, tuple) else answer


def plain_number(value: Any) -> Any:
    """A tuned value as a study file would spell it: six significant digits, whole where it is whole."""
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.6g}")
    return value


WORD = re.compile(r"[^A-Za-z0-9.+_-]+")
"""What cannot stand in the name of a folder."""
