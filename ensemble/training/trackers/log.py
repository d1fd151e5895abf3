"""What a run tells while it goes on: a JSON Lines log that is the truth, and one line per epoch on screen."""

import json
import os
import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from ensemble.console import duration, messages
from ensemble.console.pulse import pulse
from ensemble.runs.files import write_text
from ensemble.training.optimisation.budget import Budget


class JsonLinesLogger(Logger):
    """Appends one JSON object a line: the step and everything that was measured there.

    Lines of steps after ``resumed_step`` are dropped, because the run repeats them; one that is no JSON is refused.
    """

    def __init__(self, path: Path, resumed_step: int = 0) -> None:
        super().__init__()
        self._path = path
        if os.environ.get("RANK", "0") == "0":
            write_text(path, "".join(line for line in _whole_lines(path) if _step_of(line, path) <= resumed_step))

    @property
    def name(self) -> str:
        """Lightning asks for it; the log has no name but its path."""
        return "log"

    @property
    def version(self) -> str:
        """Lightning asks for it; the log has no versions."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Settings stand in the run's settings file, not in the log."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one line."""
        line = {"step": step, **{key: value for key, value in metrics.items() if key != "epoch"}}
        with self._path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


def _whole_lines(path: Path) -> list[str]:
    """Lines that were written to their end; a killed run may leave half of one."""
    if not path.is_file():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def _step_of(line: str, path: Path) -> int:
    """Optimiser steps that were taken when a line was written."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected a JSON object with a step, found {line[:80]!r}; remove this line"
        ) from error


class EpochLines(lightning.Callback):
    """One line per epoch on the screen, also where there is no terminal to draw a bar on."""

    def __init__(self, name: str, metric: str) -> None:
        self._name, self._metric = name, metric
        self._since = time.monotonic()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock of the epoch."""
        self._since = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Say where the run is."""
        if not trainer.is_global_zero:
            return
        measured = trainer.callback_metrics
        shown = []
        if "train/loss" in measured:  # a run that goes on with the validation of an epoch has not trained yet
            shown.append(f"loss {float(measured['train/loss']):7.4f}")
        wanted = [
            metric for metric in dict.fromkeys((self._metric, "d1", "rmse")) if f"validation/{metric}" in measured
        ]
        shown += [f"{metric} {float(measured[f'validation/{metric}']):.4f}" for metric in wanted]
        limit = f"/{trainer.max_epochs}" if trainer.max_epochs != -1 else ""
        epoch = f"epoch {trainer.current_epoch + 1:>3}{limit}"
        messages.print(f"  {self._name:<10} {epoch}  {'  '.join(shown)}  {time.monotonic() - self._since:5.1f} s")


WARM_STEPS = 3
"""The first steps of a process, which are slower than the rest."""
TOLD_FROM = 120.0
"""Seconds from which a training says how long it will take."""


class TimeLeft(lightning.Callback):
    """Says once, after some steps, about how long a long training goes on, and where it is to whoever watches."""

    def __init__(self, name: str, budget: Budget) -> None:
        self._name, self._budget = name, budget
        self._first: int | None = None
        self._since = 0.0
        self._told = False

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure the steps behind the first ones."""
        done = trainer.global_step
        if self._first is None:
            self._first = done + WARM_STEPS
        if done <= self._first:
            self._since = self._budget.seconds
            self._say_doing(done, "")
            return
        left = self._left(done, (self._budget.seconds - self._since) / (done - self._first))
        about = f"about {duration(left)} left" if left >= TOLD_FROM else ""
        self._say_doing(done, f", {about}" if about else "")
        if about and not self._told and done >= self._first + WARM_STEPS and trainer.is_global_zero:
            self._told = True
            of = f"{self._budget.asked:g} s" if self._budget.unit == "seconds" else f"{self._budget.steps} steps"
            messages.print(f"  {self._name:<10} {about} of {of}, looks at the validation scenes not counted")

    def _left(self, done: int, seconds_per_step: float) -> float:
        if self._budget.unit == "seconds":
            return self._budget.asked - self._budget.seconds
        return seconds_per_step * (self._budget.steps - done)

    def _say_doing(self, done: int, about: str) -> None:
        of = "" if self._budget.unit == "seconds" else f" of {self._budget.steps}"
        pulse.doing = f"{self._name}: step {done}{of}{about}"

    def on_validation_batch_end(self, trainer: lightning.Trainer, *given: Any, **named: Any) -> None:
        """Say that this is no training."""
        pulse.doing = f"{self._name}: validation after step {trainer.global_step}"
