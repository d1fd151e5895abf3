"""Ends training on a signal, with a checkpoint of the last optimiser step: what goes on loses nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGTERM
from typing import Any

import lightning
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ensemble.runs.paths import Run
from ensemble.runs.stopping import SIGNALS, Stopped, answer_signals, stop_asked
from ensemble.settings.schema import TrainingSettings
from ensemble.training.optimisation.budget import Budget

VALIDATION = "epoch_loop.val_loop.batch_progress"
"""Where a checkpoint of Lightning counts the batches of the validation scenes."""


@contextmanager
def as_stopped() -> Iterator[None]:
    """Lightning's own answer to a SIGTERM, where it was faster or nobody else answers, is ``Stopped``, not status 0."""
    try:
        yield
    except SIGTERMException as error:
        raise Stopped(SIGTERM) from error


class StopWhereSafe(lightning.Callback):
    """Looks after every optimiser step and every validation batch whether the process was asked to end.

    A validation that is cut short is made again as a whole by the run that goes on: its scores are means over all
    frames.
    """

    def __init__(self, run: Run, settings: TrainingSettings, budget: Budget) -> None:
        self._run, self._settings, self._budget = run, settings, budget
        self._validating = False
        self._stopped: Stopped | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take SIGTERM back from Lightning, which ends with status 0, also between two batches of a step."""
        answer_signals()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save after a step; where the epoch ends here, its validation comes first and is where to stop."""
        stepped = (batch_idx + 1) % self._settings.accumulate == 0
        last = trainer.should_stop or batch_idx + 1 >= trainer.num_training_batches
        if stepped and not last:
            self._stopped = self._saved(trainer)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop when the log of the step that was saved has been written, which comes after its last hook."""
        if self._stopped is not None:
            raise self._stopped

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop between two batches of the validation that belongs to an epoch; after the last one, the epoch ends.

        Of several processes one may have a batch more than another, so that they cannot agree here.
        """
        alone = trainer.world_size == 1
        if alone and trainer.state.fn == "fit" and batch_idx + 1 < trainer.num_val_batches[dataloader_idx]:
            self._validating = True
            stopped = self._saved(trainer)
            self._validating = False
            if stopped is not None:
                raise stopped

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop where the state of the epoch has just been written."""
        if number := self._asked(trainer):
            raise Stopped(number, trainer.global_step)

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a cut validation begin anew: Lightning goes back to one that was left within its first batch."""
        if self._validating:
            begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress = checkpoint["loops"]["fit_loop"][VALIDATION]
            progress.update(total=begun, current={**begun}, is_last_batch=False)

    def _saved(self, trainer: lightning.Trainer) -> Stopped | None:
        """Write a checkpoint where the process was asked to end."""
        number = self._asked(trainer)
        if number is None:
            return None
        with self._budget.paused():
            trainer.save_checkpoint(self._run.last)
        return Stopped(number, trainer.global_step)

    @staticmethod
    def _asked(trainer: lightning.Trainer) -> int | None:
        """The signal that ends all processes of this training, after the same step."""
        number = stop_asked()
        if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(number is not None, all=False):
            return number or SIGNALS[0]
        return number
