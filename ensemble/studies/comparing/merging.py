"""Trials of several arms as one study of Optuna, so that Optuna can say what decides the metric and draw it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from ensemble.studies.design.arms import Arm, arms_of, numbers_of
from ensemble.studies.design.study_file import StudySettings
from ensemble.studies.running.trials import distribution_of
from ensemble.studies.storage.records import Trial, directions

ALL = "all arms"

LONG = 60
"""Letters of the names of some arms that the name of a file may hold."""


@dataclass(frozen=True)
class Pool:
    """Trials that are looked at together."""

    title: str  # the arms that they are of
    covers: str  # what can be seen of them and what cannot, in words
    merged: optuna.Study  # the trials as one study of Optuna in memory, with the questions among its parameters

    @property
    def is_whole(self) -> bool:
        """Whether it holds every arm."""
        return self.title == ALL

    @property
    def prefix(self) -> str:
        """Of the names of its files."""
        first, *others = self.title.split(", ")
        more = f"+{len(others)}-more" if len(self.title) > LONG else "".join(f"+{name}" for name in others)
        return "" if self.is_whole else f"{first}{more}-"


def pools_of(study: StudySettings, trials: Sequence[Trial]) -> tuple[Pool, ...]:
    """All arms together, then the arms that tune more than all of them do, those with the same numbers together.

    Optuna can only compare trials by the parameters that each of them has.
    """
    arms = arms_of(study)
    tuned = {arm: tuple(numbers_of(study, arm)) for arm in arms}
    shared = [key for key in study.numbers if all(key in numbers for numbers in tuned.values())]
    asked = [question for question, answers in study.questions.items() if len(answers) > 1]
    words = f"Every arm, by what all of them have: {', '.join([*asked, *shared]) or 'nothing'}."
    partly = [key for key in study.numbers if key not in shared and any(key in numbers for numbers in tuned.values())]
    if partly:
        words += f" Not in it, because only some arms tune them: {', '.join(partly)}."
    pools = [Pool(ALL, words, merged_study(study, arms, trials))]
    for numbers in dict.fromkeys(tuned.values()):
        members = [arm for arm in arms if tuned[arm] == numbers]
        if own := [key for key in numbers if key in partly]:
            title = ", ".join(arm.name for arm in members)
            words = f"Only {title}, by every number that they tune; those that not every arm has: {', '.join(own)}."
            pools.append(Pool(title, words, merged_study(study, members, trials)))
    return tuple(pools)


def merged_study(study: StudySettings, arms: Sequence[Arm], trials: Sequence[Trial]) -> optuna.Study:
    """The complete and pruned trials of some arms, with the questions among their parameters."""
    whole = optuna.create_study(study_name=study.name, directions=directions(study))
    known = {arm.name: arm for arm in arms}
    choices = {question: [_shown(answer) for answer in answers] for question, answers in study.questions.items()}
    for trial in trials:
        if trial.state not in ("complete", "pruned") or trial.arm not in known:
            continue
        arm = known[trial.arm]
        asked = {question: _shown(answer) for question, answer in arm.answers.items() if len(choices[question]) > 1}
        distributions = {key: optuna.distributions.CategoricalDistribution(choices[key]) for key in asked}
        tuned = {key: distribution_of(number) for key, number in numbers_of(study, arm).items() if key in trial.numbers}
        complete = trial.state == "complete"
        whole.add_trial(
            optuna.create_trial(
                state=TrialState.COMPLETE if complete else TrialState.PRUNED,
                values=trial.values if complete else None,
                params={**asked, **trial.numbers},
                distributions={**distributions, **tuned},
                intermediate_values=trial.frozen.intermediate_values,
                constraints=trial.frozen.constraints,
            )
        )
    return whole


def _shown(answer: Any) -> Any:
    if isinstance(answer, Mapping):  # several settings of a section
        return answer.get("name", str(dict(answer)))
    return "+".join(map(str, answer)) if isinstance(answer, list | tuple) else answer
