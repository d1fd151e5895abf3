"""The learning-rate range test: what the loss does while the rate climbs, and where it falls fastest.

Lightning has one too. It gives encoder and decoder one rate, measures accumulated batches one by one, and a loss that
is not finite, which is how a range test often ends, throws its curve away.
"""

from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np

SMOOTHING = 0.98
DIVERGED = 4.0
"""The test ends where the smoothed loss is so many times the lowest one."""


class RangeCurve(lightning.Callback):
    """Collects rate and smoothed loss of every optimiser step, and stops where the loss diverges.

    Attributes:
        rates: Learning rate of the decoder.
        losses: Running mean of the loss up to each step, in which earlier steps weigh less and less.
    """

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._sum = 0.0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a point where an optimiser step was taken."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        self._sum = SMOOTHING * self._sum + (1 - SMOOTHING) * float(trainer.callback_metrics["train/loss"])
        self.rates.append(float(trainer.callback_metrics["lr/decoder"]))
        self.losses.append(self._sum / (1 - SMOOTHING ** len(self.rates)))
        if self.losses[-1] > DIVERGED * min(self.losses):
            trainer.should_stop = True


def steepest_fall(rates: Sequence[float], losses: Sequence[float], *, skip: int) -> float | None:
    """The rate where the loss falls fastest per factor of the rate; ``None`` where it never falls.

    Args:
        rates: Ascending learning rates.
        losses: Smoothed loss at each rate.
        skip: Points at the beginning that do not count: there the running mean has hardly seen a batch.
    """
    if len(rates) < skip + 2:
        return None
    slopes = np.gradient(np.asarray(losses[skip:]), np.log(np.asarray(rates[skip:])))
    fastest = int(slopes.argmin())
    return rates[skip + fastest] if slopes[fastest] < 0 else None
