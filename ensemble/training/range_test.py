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
        rates: Learning rate of the last group of parameters: the decoder's, where nothing else was asked for.
        measured: Loss of each step.
        losses: Running mean of the loss up to each step, in which earlier steps weigh less and less.
    """

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.measured: list[float] = []
        self.losses: list[float] = []
        self._sum = 0.0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a point where an optimiser step was taken."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        self.measured.append(float(trainer.callback_metrics["train/loss"]))
        self._sum = SMOOTHING * self._sum + (1 - SMOOTHING) * self.measured[-1]
        last = trainer.optimizers[0].param_groups[-1]["name"]
        self.rates.append(float(trainer.callback_metrics[f"lr/{last}"]))
        self.losses.append(self._sum / (1 - SMOOTHING ** len(self.rates)))
        if self.losses[-1] > DIVERGED * min(self.losses):
            trainer.should_stop = True


def steepest_fall(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate where the loss falls fastest per factor of the rate; ``None`` where it never falls.

    The losses are those of single batches, noisy and not smoothed, so the fall at a rate is the slope of a straight
    line through all losses from a tenth to ten times of it. Rates nearer to the ends than that are not suggested.
    """
    decades = np.log10(np.asarray(rates, dtype=np.float64))
    slopes = {}
    for rate, centre in zip(rates, decades, strict=True):
        near = np.abs(decades - centre) <= 1 + 1e-9
        if centre - 1 < decades[0] - 1e-9 or centre + 1 > decades[-1] + 1e-9 or near.sum() < 3:
            continue
        slopes[rate] = float(np.polyfit(decades[near] - centre, np.asarray(losses)[near], 1)[0])
    fastest = min(slopes, key=slopes.__getitem__, default=None)
    return fastest if fastest is not None and slopes[fastest] < 0 else None
