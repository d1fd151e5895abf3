"""How long a run trains: epochs, optimiser steps, or seconds of training, over all sittings that it takes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import lightning
import torch

from ensemble.settings.schema import TrainingSettings

Now = Callable[[], float]
"""A clock in seconds that never goes back."""


class Budget(lightning.Callback):
    """Ends training when its budget is spent.

    Seconds are wall time from the start of an epoch to its last batch: waiting for batches counts, looking at the
    validation scenes and writing checkpoints does not. They are read once before every optimiser step, in the first
    process, so that all processes agree on the learning rate and on the end.

    Attributes:
        unit: Of the budget.
        asked: How much there is: ``max_seconds``, else ``max_steps``, else ``epochs``.
        steps: Optimiser steps that it is worth; for seconds, those of ``epochs``, which nothing holds it to.
        seconds: Training time when it was last read.
    """

    def __init__(self, settings: TrainingSettings, steps_per_epoch: int, *, now: Now = time.monotonic) -> None:
        self.unit: Literal["epochs", "steps", "seconds"] = "epochs"
        self.asked: float = settings.epochs
        self.steps = settings.max_steps or settings.epochs * steps_per_epoch
        if settings.max_steps is not None:
            self.unit, self.asked = "steps", settings.max_steps
        if settings.max_seconds is not None:
            self.unit, self.asked = "seconds", settings.max_seconds
        self.seconds = 0.0
        self._steps_per_epoch = steps_per_epoch
        self._now = now
        self._before = 0.0
        self._since: float | None = None

    @property
    def max_epochs(self) -> int:
        """Epochs that training may begin, as Lightning counts them: -1 where they have no limit."""
        return -1 if self.unit == "seconds" else -(-self.steps // self._steps_per_epoch)

    def record(self, steps: int) -> dict[str, Any]:
        """What a run writes down of its budget after so many optimiser steps."""
        spent = {"epochs": steps / self._steps_per_epoch, "steps": steps, "seconds": round(self.seconds, 1)}
        return {"unit": self.unit, "asked": self.asked, "spent": spent[self.unit]}

    def is_spent(self, steps: int) -> bool:
        """Whether training ends after so many optimiser steps."""
        return self.seconds >= self.asked if self.unit == "seconds" else steps >= self.steps

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Work that is not training."""
        running = self._since is not None
        self._pause()
        yield
        if running:
            self._run()

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on must know."""
        return {"seconds": self._elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.seconds = self._before = state_dict["seconds"]
        self._since = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Train nothing where a run that goes on has spent everything already; one may go on within an epoch."""
        trainer.should_stop |= self.is_spent(trainer.global_step)
        if trainer.should_stop and trainer.fit_loop.epoch_loop.val_loop.restarted_mid_evaluation:
            trainer.fit_loop.epoch_progress.increment_processed()  # its last validation is all that was cut off
            trainer.fit_loop.epoch_progress.increment_completed()
        self._run()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock before the first batch is awaited."""
        self._run()

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Read the clock."""
        seconds = self._elapsed()
        self.seconds = trainer.strategy.broadcast(seconds) if self.unit == "seconds" else seconds

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop where nothing is left."""
        trainer.should_stop |= self.is_spent(trainer.global_step)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop the clock; the next epoch starts it again."""
        self._pause()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop the clock after an epoch that is not validated."""
        self._pause()

    def _elapsed(self) -> float:
        return self._before + (0.0 if self._since is None else self._now() - self._since)

    def _run(self) -> None:
        if self._since is None:
            self._since = self._now()

    def _pause(self) -> None:
        self._before, self._since = self._elapsed(), None
