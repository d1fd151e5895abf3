"""A comparison of studies as numbers for other programs: CSV of arms and of trials, and JSON."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ensemble.studies.comparing.comparison import ArmResult, Comparison
from ensemble.studies.design.study_file import plain_number
from ensemble.tables import records
from ensemble.tables.sheet import csv_table

ARM_COLUMNS = (
    *("study", "arm", "metric", "value", "low", "high", "deviation", "repeats", "failed_repeats", "plain_mean"),
    *("trial", "complete", "pruned", "failed", "budget_spent", "seconds", "learners_seconds", "settings"),
)
TRIAL_COLUMNS = ("study", "arm", "number", "state", "reason", "spent", "cumulative_spent", "seconds", "feasible")


def arms_sheet(found: Comparison) -> str:
    """One line per arm; what does not exist stays empty."""
    rows = ({**_arm(found, arm), "settings": json.dumps(dict(arm.numbers))} for arm in found.arms)
    return csv_table(records(ARM_COLUMNS, rows))


def trials_sheet(found: Comparison) -> str:
    """One line per trial, in the order in which the trials of an arm ended: values, then tuned settings."""
    objectives = dict.fromkeys(name for study in found.studies for name in study.objectives)
    numbers = dict.fromkeys(key for study in found.studies for key in study.numbers)
    rows = (row for arm in found.arms for row in _trials(found, arm))
    return csv_table(records((*TRIAL_COLUMNS, *objectives, *numbers), rows))


def comparison_tree(found: Comparison) -> dict[str, Any]:
    """Arms and differences as plain data."""
    return {
        "studies": [study.name for study in found.studies],
        "metric": found.metric,
        "budget": found.budget,
        "frames": found.frames,
        "scenes": found.scenes,
        "arms": [{**_arm(found, arm), "settings": dict(arm.numbers)} for arm in found.arms],
        "differences": [asdict(each) for each in found.differences],
    }


def _arm(found: Comparison, arm: ArmResult) -> dict[str, Any]:
    return {
        "study": arm.study,
        "arm": arm.arm.name,
        "metric": found.metric,
        "value": arm.value,
        "low": arm.low,
        "high": arm.high,
        "deviation": arm.deviation,
        "repeats": arm.repeats,
        "failed_repeats": len(arm.failed_repeats),
        "plain_mean": arm.plain_mean,
        "trial": None if arm.best is None else arm.best.number,
        **{state: arm.count(state) for state in ("complete", "pruned", "failed")},
        "budget_spent": arm.spent,
        "seconds": sum(trial.seconds for trial in arm.trials),
        "learners_seconds": arm.learners_seconds,
    }


def _trials(found: Comparison, arm: ArmResult) -> Iterable[dict[str, Any]]:
    objectives = next(study.objectives for study in found.studies if study.name == arm.study)
    unfinished = [(trial, None) for trial in arm.trials if not trial.finished]
    for trial, cumulative in (*arm.in_order, *unfinished):
        yield {
            "study": arm.study,
            "arm": arm.arm.name,
            "number": trial.number,
            "state": trial.state,
            "reason": trial.reason,
            "spent": trial.spent,
            "cumulative_spent": cumulative,
            "seconds": trial.seconds,
            "feasible": trial.feasible,
            **(dict(zip(objectives, trial.values, strict=True)) if trial.values else {}),
            **{key: plain_number(value) for key, value in trial.numbers.items()},
        }
