"""How much of a fitted correction is kept: a number from 0 to 1, chosen on scenes that it was not fitted to."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

UNDECIDED = 0.5
"""Where scenes cannot tell: half of a correction takes away three quarters of the error that the whole would, if the
whole is right, and adds a quarter of what the whole would add, if it is noise."""

LEAST_SCENES = 5
"""Resampling fewer says nothing of scenes that are not among them."""

NOTHING = 1e-12
"""Squared log units of a scene, below which a correction is rounding and no correction."""

RESAMPLES = 2_000
SHARE = 0.95
"""Of the resampled strengths that lie in the interval."""


@dataclass(frozen=True)
class Agreement:
    """How a correction goes with the log error that it is to take away, scene by scene.

    Attributes:
        products: Sum over the images of a scene of the mean of correction times error.
        squares: The same of the squared correction.
    """

    products: Float64[np.ndarray, " scenes"]
    squares: Float64[np.ndarray, " scenes"]

    def without(self, scene: int) -> "Agreement":
        """The same of all scenes but one."""
        return Agreement(np.delete(self.products, scene), np.delete(self.squares, scene))


def strength(agreement: Agreement) -> float:
    """The share of a correction that is kept, from 0 to 1.

    The squared log error ``sum (error - s * correction)^2`` is least at ``s = products / squares``. Scenes are drawn
    with replacement, and where the interval of ``s`` holds 0 and 1 both, or there are too few scenes to draw from, they
    cannot tell a correction that is right from one that is noise: ``UNDECIDED``. Else it is the best ``s``, held
    between 0 and 1. A correction that is nothing everywhere has the strength 0.

    Source: Efron and Tibshirani 1993, chapter 13 (percentile interval).
    """
    scenes, total = len(agreement.squares), agreement.squares.sum()
    if total <= NOTHING * scenes:
        return 0.0
    if scenes < LEAST_SCENES:
        return UNDECIDED
    drawn = np.random.default_rng(0).integers(scenes, size=(RESAMPLES, scenes))
    squares = agreement.squares[drawn].sum(axis=1)
    found = agreement.products[drawn].sum(axis=1)[squares > 0] / squares[squares > 0]
    low, high = np.quantile(found, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    if low <= 0 and high >= 1:
        return UNDECIDED
    return float(np.clip(agreement.products.sum() / total, 0, 1))
