"""A table of what a study has behind it and before it."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ensemble.report.wording import duration, number
from ensemble.studies.design.arms import arms_of
from ensemble.studies.design.study_file import StudySettings
from ensemble.studies.storage.records import Trial, best_of
from ensemble.tables import Column, Table, plain_table

COUNTED = ("running", "complete", "pruned", "failed")


def progress_table(study: StudySettings, trials: Sequence[Trial], *, workers: int = 1) -> Table:
    """Trials of every arm by state, its best value, and the time that is left for so many workers."""
    lines = [
        [
            line["arm"],
            f"{line['done']}/{study.trials}",
            *(str(line[state]) for state in COUNTED),
            "-" if line["best"] is None else f"{number(line['best'])} (#{line['best_trial']})",
        ]
        for line in progress_lines(study, trials)
    ]
    return plain_table(
        ("arm", "done", *COUNTED, Column(f"best {study.metric}", priority=1)),
        lines,
        title=study.name,
        caption=remaining_sentence(study, trials, workers=workers),
    )


def progress_lines(study: StudySettings, trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Every arm with the number of its trials of every state and its best value."""
    at = study.objectives.index(study.metric)
    lines: list[dict[str, Any]] = []
    for arm in arms_of(study):
        own = [trial for trial in trials if trial.arm == arm.name]
        states = Counter(trial.state for trial in own)
        best = best_of(study, own)
        lines.append(
            {
                "arm": arm.name,
                "done": sum(trial.finished for trial in own),
                **{state: states[state] for state in COUNTED},
                "best": None if best is None else best.values[at],
                "best_trial": None if best is None else best.number,
            }
        )
    return lines


def progress_tree(study: StudySettings, trials: Sequence[Trial]) -> dict[str, Any]:
    """The table as plain data."""
    return {
        "study": study.name,
        "metric": study.metric,
        "trials": study.trials,
        "remaining": remaining(study, trials),
        "arms": progress_lines(study, trials),
    }


def remaining(study: StudySettings, trials: Sequence[Trial]) -> int:
    """Trials that are still to be finished."""
    done = Counter(trial.arm for trial in trials if trial.finished)
    return sum(max(0, study.trials - done[arm.name]) for arm in arms_of(study))


def remaining_sentence(study: StudySettings, trials: Sequence[Trial], *, workers: int) -> str:
    """How many trials are left, and how long they may take."""
    left = remaining(study, trials)
    timed = [trial.seconds for trial in trials if trial.state in ("complete", "pruned") and trial.seconds]
    words = f"{left} trials left" if left else "all trials finished"
    if left and timed:
        words += f", about {duration(left * sum(timed) / len(timed) / max(1, workers))} with {workers} worker(s)"
    return f"{words}. Budget of a trial: {study.budget.amount:g} {study.budget.unit.replace('_', ' ')}."


def trial_line(study: StudySettings, trial: Trial) -> str:
    """One finished trial in one line."""
    if trial.state == "complete":
        told = ", ".join(
            f"{name} {number(value)}" for name, value in zip(study.objectives, trial.values, strict=True)
        ) + ("" if trial.feasible else ", over a limit")
    else:
        told = f"{trial.state}: {trial.reason}"
    return f"  {time.strftime('%H:%M:%S')}  {trial.arm} #{trial.number}  {told}  ({duration(trial.seconds)})"
