"""What goes along with a trial's fit: reports for the pruner, and the scores of every validation frame."""

import json
import math
from collections.abc import Mapping
from typing import Any

import lightning
import optuna
import torch

from ensemble.runs.paths import Run
from ensemble.runs.seals import write_checked
from ensemble.studies.storage.connection import DOWN
from ensemble.studies.storage.folders import scores_file
from ensemble.training.checkpoints import KeepCheckpoints
from ensemble.training.optimisation.budget import Budget

BUCKET = 5
"""Percent of the budget; trials are compared at multiples of it, because no two are looked at the same moment."""


class ReportValues(lightning.Callback):
    """Tells the storage what the validation scenes say, and ends a trial that the pruner gives up, if it may.

    A storage that is down stops no training: what it misses is left out.
    """

    def __init__(self, trial: optuna.Trial, metric: str, *, prune: bool) -> None:
        self._trial, self._metric, self._prune = trial, metric, prune
        self._reported = -1
        self.spent = 0.0

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Report, and stop where the pruner says so.

        Raises:
            TrialPruned: Others were better at the same share of their budget.
        """
        budget = next(callback for callback in _callbacks(trainer) if isinstance(callback, Budget))
        self.spent = float(budget.record(trainer.global_step)["spent"])
        share = min(100, BUCKET * math.floor(100 * self.spent / budget.asked / BUCKET))
        value = float(trainer.callback_metrics[f"validation/{self._metric}"])
        if not self._prune or share <= self._reported:
            return
        self._reported = share
        try:
            self._trial.report(value, share)
            pruned = share < 100 and self._trial.should_prune()
        except DOWN:
            return
        if pruned:
            raise optuna.TrialPruned(
                f"{self._metric} {value:.4f} at {share} % of the budget: worse than trials of the same arm there"
            )


class KeepScores(lightning.Callback):
    """Writes the scores of every validation frame whenever a run is best so far."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._found: dict[str, dict[str, float]] = {}

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forget the last look."""
        self._found = {}

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect the scores of a batch; frames without valid pixels have none."""
        columns: Mapping[str, torch.Tensor] = {key: value for key, value in outputs.items() if key != "frame"}
        for index, frame in enumerate(outputs["frame"]):
            scores = {key: float(values[index]) for key, values in columns.items()}
            if all(math.isfinite(score) for score in scores.values()):
                self._found[frame] = scores

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep them where nothing was better."""
        keep = next(callback for callback in _callbacks(trainer) if isinstance(callback, KeepCheckpoints))
        if keep.best_step == trainer.global_step:
            write_checked(scores_file(self._run), (json.dumps(self._found) + "\n").encode())


def _callbacks(trainer: lightning.Trainer) -> list[lightning.Callback]:
    return trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]  (Lightning sets it from outside the class)
