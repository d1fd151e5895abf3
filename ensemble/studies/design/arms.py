"""The arms of a study: every combination of answers to its questions, and the settings that each stands for."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ensemble.predictions.available import learners_of, settings_beside
from ensemble.runs.paths import Outputs
from ensemble.settings.layers import Choice, experiment_name, learner_settings, stack_settings
from ensemble.settings.schema import LearnerSettings, StackSettings
from ensemble.settings.trees import SettingsError, assignments_of
from ensemble.studies.design.study_file import ALIASES, WORD, NumberSettings, StudySettings, listed

CHOSEN = ("inputs", "learners")
"""Settings that are chosen before files are read, because other files belong to them."""


@dataclass(frozen=True)
class Arm:
    """One combination of answers."""

    name: str  # of its folder and of its part of the storage
    answers: Mapping[str, Any] = field(hash=False)  # question -> answer


def arms_of(study: StudySettings) -> tuple[Arm, ...]:
    """All arms, in the order of questions and answers.

    Raises:
        SettingsError: Two arms would go by the same name.
    """
    found = []
    for answers in itertools.product(*study.questions.values()):
        name = WORD.sub("+", "-".join(_shown(answer) for answer in answers)).strip("+-.") or "arm"
        found.append(Arm(name, dict(zip(study.questions, answers, strict=True))))
    names = [arm.name for arm in found]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise SettingsError(f"{study.name}: {len(doubled)} names stand for several arms (first: {min(doubled)})")
    return tuple(found)


def numbers_of(study: StudySettings, arm: Arm) -> dict[str, NumberSettings]:
    """What is tuned in an arm."""
    return {
        key: number
        for key, number in study.numbers.items()
        if all(
            listed(arm.answers[question]) in [listed(answer) for answer in answers]
            for question, answers in number.only.items()
        )
    }


def lowest_numbers(study: StudySettings, arm: Arm) -> dict[str, Any]:
    """One value of every tuned setting, for a look at an arm before anything is drawn."""
    return {
        key: number.choices[0] if number.choices is not None else int(number.low or 0) if number.whole else number.low
        for key, number in numbers_of(study, arm).items()
    }


def assigned(study: StudySettings, arm: Arm, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Setting -> value of one trial; answers win over what the study sets, tuned numbers over both."""
    answers = {ALIASES.get(question, question): _settings(answer) for question, answer in arm.answers.items()}
    return {**study.set, **answers, **study.budget.assignments, "training.select": study.metric, **numbers}


def experiment_of(study: StudySettings, arm: Arm) -> str:
    """The experiment whose learners an arm weighs."""
    named = assigned(study, arm, {}).get("experiment")
    words = assignments_of({"experiment": named} if named else {})
    return experiment_name(Choice(config=study.config, assignments=words))


def settings_of(
    study: StudySettings,
    arm: Arm,
    numbers: Mapping[str, Any],
    outputs: Outputs,
    *,
    root: Path | None = None,
    seed: int | None = None,
) -> StackSettings | LearnerSettings:
    """The settings of one trial; frames of a stack are those of the learners' runs where there are any.

    Where given, ``root`` is where the data are now, and ``seed`` takes the place of the study's own.

    Raises:
        SettingsError: Anything unknown, of a wrong type, out of range or contradictory.
    """
    given = assigned(study, arm, numbers)
    chosen = {key: given.pop(key) for key in CHOSEN if key in given}
    experiment = given["experiment"] = experiment_of(study, arm)
    if seed is not None:
        given["seed"] = seed
    if study.learner is not None:
        try:
            return learner_settings(
                study.learner, Choice(None, root, study.config, assignments_of({**given, **chosen}))
            )
        except SettingsError as error:
            raise SettingsError(f"{study.name}, arm {arm.name}: {error}") from error
    beside = settings_beside(outputs, experiment)
    kind = None if beside is None else beside.data.kind
    try:
        return stack_settings(
            chosen.get("inputs", "rgb+d"),
            Choice(kind, root, study.config, assignments_of(given)),
            learners=chosen.get("learners"),
            inherited=None if beside is None else beside.model_dump(mode="json", include={"data", "evaluation"}),
            imported=learners_of(outputs, experiment),
        )
    except SettingsError as error:
        raise SettingsError(f"{study.name}, arm {arm.name}: {error}") from error


def _settings(answer: Any) -> Any:
    """What an answer sets; its name, where it is several settings, sets nothing."""
    return {key: value for key, value in answer.items() if key != "name"} if isinstance(answer, Mapping) else answer


def _shown(answer: Any) -> str:
    if isinstance(answer, Mapping) and "name" in answer:
        return str(answer["name"])
    return "+".join(map(str, answer)) if isinstance(answer, list | tuple) else str(answer)
