"""The LightningModule: what a step does is a function that is passed in, so learners and meta-learner share it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from ensemble.config import TrainingSettings
from ensemble.data.loaders import Batch
from ensemble.metrics import EvalProtocol, ScoreSums, image_scores, prepare
from ensemble.training.schedule import one_cycle

Forward = Callable[[nn.Module, Batch], Any]
"""The network's answer to a batch, whatever its losses need."""

Losses = Callable[[Any, Batch], Mapping[str, Tensor]]
"""Named loss terms of an answer, in float32, already weighted."""

Depth = Callable[[Any], Tensor]
"""The depth [b 1 h w] in metres within an answer."""


class DepthTask(lightning.LightningModule):
    """Fits a network to depth with one cycle of AdamW and scores it on validation frames.

    Args:
        name: Named in messages.
        network: Has an attribute ``encoder``, whose parameters get their own learning rate.
        forward: The network's answer to a batch.
        losses: Terms whose sum is minimised.
        depth: The depth within an answer.
        settings: Optimiser and schedule.
        steps: Length of the cycle.
        seed: Dropout of every batch follows from it and from the number of the batch, so that a resumed run repeats it.
        protocol: How validation frames are scored.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        *,
        forward: Forward,
        losses: Losses,
        depth: Depth,
        settings: TrainingSettings,
        steps: int,
        seed: int,
        protocol: EvalProtocol,
    ) -> None:
        super().__init__()
        self.name = name
        self.network = network
        self.lr = settings.lr  # the range test varies it
        self._answer, self._losses, self._depth = forward, losses, depth
        self._settings, self._steps, self._seed, self._protocol = settings, steps, seed, protocol
        self.validation_scores = ScoreSums()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Draw dropout from (seed, batch, process) instead of from a generator whose state a checkpoint would need."""
        number = self.trainer.global_step * self._settings.accumulate + batch_idx % self._settings.accumulate
        torch.manual_seed(int(np.random.SeedSequence([self._seed, number, self.global_rank]).generate_state(1)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch.

        Raises:
            FloatingPointError: The loss is NaN or infinite.
        """
        terms = self._losses(self._answer(self.network, batch), batch)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            found = ", ".join(f"{term} {value.item():.4g}" for term, value in terms.items())
            raise FloatingPointError(
                f"{self.name}: the loss is not finite at step {self.trainer.global_step} ({found}; first frame "
                f"{batch['frame'][0]}). Lower training.lr, or train with --set training.precision=32-true"
            )
        self.log_dict({f"train/{term}": value.detach() for term, value in terms.items()})
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the scores of one batch of whole frames."""
        depth = self._depth(self._answer(self.network, batch)).float()
        *compared, counts = prepare(depth, batch["depth"], batch["valid"], protocol=self._protocol)
        self.validation_scores.update(image_scores(*compared), counts)

    def on_validation_epoch_end(self) -> None:
        """Log the mean over validation frames of every metric."""
        scores = self.validation_scores.compute()
        self.validation_scores.reset()
        self.log_dict({f"validation/{name}": float(value) for name, value in scores.items()})

    def configure_optimizers(self) -> Any:
        """AdamW with two learning rates and one cycle for both."""
        encoder = list(self.network.encoder.parameters())
        known = {id(parameter) for parameter in encoder}
        rest = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        groups = [
            {"params": encoder, "lr": self.lr * self._settings.encoder_lr_factor, "name": "encoder"},
            {"params": rest, "lr": self.lr, "name": "decoder"},
        ]
        optimizer = torch.optim.AdamW(groups, lr=self.lr, weight_decay=self._settings.weight_decay)
        cycle = functools.partial(
            one_cycle,
            steps=self._steps,
            warmup_fraction=self._settings.warmup_fraction,
            start_divisor=self._settings.start_divisor,
            end_divisor=self._settings.end_divisor,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, [cycle, cycle])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
