"""What a run leaves on disk: the last state, to go on from, and the best weights, to predict with."""

import io
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from base_learners.encoders.weights import without_advice
from ensemble.metrics.formulas import METRICS
from ensemble.runs.paths import Run
from ensemble.runs.refusals import refuse_unreadable
from ensemble.runs.seals import read_bytes, write_checked
from ensemble.settings.schema import TrainingSettings
from ensemble.training.optimisation.budget import Budget
from ensemble.training.weights import save_weights


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, syncs and renames; reads tensors and plain data only.

    Lightning writes in the default temporary folder, moves the file, and does not sync it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint that is either whole or not there."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_checked(Path(path), buffer.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        """``read_checkpoint``, whatever Lightning asks for."""
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU; refused if it is missing, damaged, or anything but tensors and plain data."""
    try:
        checkpoint = torch.load(io.BytesIO(read_bytes(path)), map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: there is no checkpoint") from error
    except Exception as error:  # whatever its unpickler stumbles over in bytes that are no checkpoint
        refuse_unreadable(path, error)
        raise _refused(path, f"{type(error).__name__}: {without_advice(error)}") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("global_step"), int):
        raise _refused(path, "found no state of a training run in it")
    return checkpoint


def _refused(path: Path, found: str) -> ValueError:
    return ValueError(
        f"{path}: refused, expected a checkpoint of tensors and plain data ({found}). "
        "Give --fresh, or remove the file, to train this run from the start"
    )


class KeepCheckpoints(lightning.Callback):
    """Saves the last state after every epoch, and the weights whenever the validation score is the best so far.

    The clock of the budget stands still while a checkpoint is written.
    """

    def __init__(self, run: Run, settings: TrainingSettings, budget: Budget) -> None:
        self.run = run
        self.settings = settings
        self.budget = budget
        self.best: float | None = None
        self.best_step = 0
        self.validated_step = -1
        self._seconds_before = 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of training, over all the sittings that the run took."""
        return self._seconds_before + time.monotonic() - self._started

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on must know."""
        return {name: getattr(self, name) for name in ("best", "best_step", "validated_step", "seconds")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.best = state_dict["best"]
        self.best_step = state_dict["best_step"]
        self.validated_step = state_dict["validated_step"]
        self._seconds_before = state_dict["seconds"]

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save where a checkpoint is due, unless the epoch ends here and saves after its validation."""
        every = self.settings.checkpoint_every
        stepped = (batch_idx + 1) % self.settings.accumulate == 0
        last = trainer.should_stop or batch_idx + 1 >= trainer.num_training_batches
        if every is not None and stepped and not last and trainer.global_step % every == 0:
            with self.budget.paused():
                trainer.save_checkpoint(self.run.last)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the weights where they score better than any before."""
        metric = self.settings.select
        score = float(trainer.callback_metrics[f"validation/{metric}"])
        self.validated_step = trainer.global_step
        sign = 1 if METRICS[metric].higher_is_better else -1
        if self.best is None or sign * score > sign * self.best:
            self.best, self.best_step = score, trainer.global_step
            if trainer.is_global_zero:
                record = {"metric": metric, "score": score, "step": trainer.global_step}
                save_weights(pl_module.get_submodule("network"), self.run.best, record)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save the state that the next epoch starts from."""
        trainer.save_checkpoint(self.run.last)
