"""What a run tells while it goes on: a JSON Lines log that is the truth, and one line per epoch on screen."""

import json
import os
import time
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from ensemble.console import messages
from ensemble.runs.files import write_text


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
