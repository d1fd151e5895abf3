"""A sweep as a YAML file: a learner, its switches and their answers, and the budget of every arm."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ensemble.settings.complaints import validated
from ensemble.settings.layers import Choice, learner_settings
from ensemble.settings.schema import LearnerSettings, Name, Settings
from ensemble.settings.trees import SettingsError, assignments_of, read_yaml
from ensemble.studies.design.arms import Arm
from ensemble.studies.design.study_file import METRICS, WORD, BudgetSettings, with_overrides

FIRST = "as-it-is"
"""Name of the arm with the first answer to everything, where one thing is changed at a time."""


class SweepSettings(Settings):
    """A whole sweep."""

    name: Name  # of the sweep, of its folder and of the experiment that its arms are trained under
    about: str = ""  # what it asks, in one sentence
    learner: str  # whose switches these are
    config: Path | None = None  # experiment file, relative to the file of the sweep
    set: dict[str, Any] = Field(default_factory=dict)  # settings of every arm, as with ``--set``
    switches: Annotated[dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]], Field(min_length=1)]
    """Setting -> answers. The first answers together are what all others are held against."""
    arms: Literal["product", "one-at-a-time"] = "product"
    """``product`` trains every combination, ``one-at-a-time`` the first answers and every change of one of them."""
    metric: str = "abs_rel"  # on the validation scenes; it chooses checkpoints too
    budget: BudgetSettings  # of every arm

    @model_validator(mode="after")
    def _known_metric(self) -> Self:
        if self.metric not in METRICS:
            raise ValueError(f"metric: expected one of {', '.join(METRICS)}, found {self.metric!r}")
        return self


def read_sweep(
    path: Path, *, config: Path | None = None, assignments: Mapping[str, Any] | None = None
) -> SweepSettings:
    """The sweep in a YAML file; ``config`` replaces that of the file, ``assignments`` win over ``set``.

    Raises:
        SettingsError: Anything unknown, of a wrong type or contradictory, or the file holds a study of stacks.
    """
    tree = read_yaml(path)
    if "questions" in tree:
        raise SettingsError(
            f"{path}: has questions, which are those of a study of stacks, expected switches of a learner. "
            f"Run: python -m ensemble.study run {path}"
        )
    tree = with_overrides(tree, path, config, assignments)
    return validated(SweepSettings, tree, key="key", whole="the sweep", where=f"{path}: ")


def arms_of_sweep(sweep: SweepSettings) -> tuple[Arm, ...]:
    """All arms; the first has the first answer to everything.

    Raises:
        SettingsError: Two arms would go by the same name.
    """
    first = {switch: answers[0] for switch, answers in sweep.switches.items()}
    if sweep.arms == "product":
        combinations = (
            dict(zip(first, answers, strict=True)) for answers in itertools.product(*sweep.switches.values())
        )
        found = [Arm(_name(*answers.values()), answers) for answers in combinations]
    else:
        found = [Arm(FIRST, first)]
        for switch, answers in sweep.switches.items():
            found += [
                Arm(_name(switch.removeprefix("network."), each), {**first, switch: each}) for each in answers[1:]
            ]
    names = [arm.name for arm in found]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"{sweep.name}: {len(doubled)} names stand for several arms (first: {doubled[0]})")
    return tuple(found)


def settings_of_arm(sweep: SweepSettings, arm: Arm, *, root: Path | None = None) -> LearnerSettings:
    """The settings of one arm: those of the learner, under the name of the arm.

    Raises:
        SettingsError: Anything unknown, of a wrong type, out of range or contradictory.
    """
    own = {"experiment": sweep.name, "training.select": sweep.metric, **sweep.budget.assignments}
    choice = Choice(root=root, config=sweep.config, assignments=assignments_of({**sweep.set, **arm.answers, **own}))
    try:
        settings = learner_settings(sweep.learner, choice)
    except SettingsError as error:
        raise SettingsError(f"{sweep.name}, arm {arm.name}: {error}") from error
    return settings.model_copy(update={"learner": arm.name})


def _name(*answers: Any) -> str:
    return WORD.sub("+", "-".join(_shown(answer) for answer in answers)).strip("+-.") or "arm"


def _shown(answer: Any) -> str:
    if isinstance(answer, list | tuple):
        return "+".join(map(str, answer))
    return "own" if answer is None else str(answer)
