"""The arguments of a loss recipe as training goes on: those of the last phase, once it has begun."""

from collections.abc import Iterable
from typing import Any

from ensemble.settings.schema import LearnerSettings, StackSettings

ROUNDING = 1e-9
"""Of shares of a training; a step is at least a billionth of it."""


def loss_arguments(settings: LearnerSettings | StackSettings, done: float = 0.0) -> dict[str, Any]:
    """Keyword arguments of a loss recipe from the moment that a share of the training is done, 0 to 1."""
    last = settings.training.last_phase
    changed = {} if last is None or done < 1 - last.fraction - ROUNDING else last.loss
    return {**settings.loss, **changed}


def phase_starts(all_settings: Iterable[LearnerSettings | StackSettings]) -> list[float]:
    """Shares of a training, ascending, at which arguments of a loss change."""
    phases = [settings.training.last_phase for settings in all_settings]
    return sorted({1 - phase.fraction for phase in phases if phase is not None})
