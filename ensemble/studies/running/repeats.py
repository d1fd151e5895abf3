"""The best setting of an arm, fitted again from other seeds, so that its value is no longer that of a lucky draw."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ensemble.console import messages
from ensemble.runs.paths import Run
from ensemble.runs.refusals import refuse_unreadable
from ensemble.runs.seals import read_text
from ensemble.settings.trees import SettingsError, parse_assignments
from ensemble.studies.design.arms import Arm
from ensemble.studies.design.study_file import BudgetSettings
from ensemble.studies.running.trials import WorkerContext, fit_trial, study_settings
from ensemble.studies.running.watching import KeepScores
from ensemble.studies.storage.folders import scores_file
from ensemble.studies.storage.records import Trial

DIVERGED = (FloatingPointError, MemoryError, torch.OutOfMemoryError)
"""What ends a single repeat; the others go on."""


@dataclass(frozen=True)
class Repeats:
    """Fits of one setting."""

    runs: tuple[Run, ...]  # those that were fitted to their end
    failed: Mapping[int, str]  # seed -> why its fit failed


def repeat_best(
    context: WorkerContext,
    arm: Arm,
    best: Trial,
    numbers: Mapping[str, Any],
    *,
    seeds: Sequence[int],
    budget: str | None,
) -> Repeats:
    """Fit the best setting of an arm once from every seed; what was fitted before is taken as it is.

    The budget, ``500steps`` or ``300seconds``, is that of a trial where absent.
    """
    asked = context.study.budget if budget is None else _budget(budget)
    context = replace(context, study=context.study.model_copy(update={"budget": asked}))
    runs: list[Run] = []
    failed: dict[int, str] = {}
    for seed in seeds:
        settings = study_settings(context, arm, numbers, seed=seed)
        run = context.folder.repeat(arm.name, best.number, f"{asked.amount:g}{asked.unit}", seed)
        try:
            runs.append(fit_trial(settings, run, context.outputs, callbacks=[KeepScores(run)], kept=context.frames))
        except DIVERGED as error:
            failed[seed] = str(error) or type(error).__name__
            messages.print(f"{context.study.name}, arm {arm.name}: the repeat from seed {seed} failed: {error}")
    return Repeats(tuple(runs), failed)


def read_scores(run: Run, metric: str) -> dict[str, float]:
    """Scores of every validation frame where a run was best.

    Raises:
        SettingsError: The run's folder is not here.
    """
    try:
        found = json.loads(read_text(scores_file(run)))
    except (FileNotFoundError, ValueError) as error:
        if isinstance(error, ValueError):
            refuse_unreadable(scores_file(run), error)
        raise SettingsError(
            f"{scores_file(run)}: cannot be read ({error}); compare where the trials were run, or give --seeds 1,2,3 "
            "to fit the best settings here"
        ) from error
    return {frame: scores[metric] for frame, scores in found.items()}


def _budget(text: str) -> BudgetSettings:
    unit = next(unit for unit in ("steps", "seconds") if text.endswith(unit))
    (value,) = parse_assignments([f"value={text.removesuffix(unit)}"]).values()
    return BudgetSettings(steps=value) if unit == "steps" else BudgetSettings(seconds=value)
