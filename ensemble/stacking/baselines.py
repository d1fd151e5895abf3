"""Rungs below the meta-learner, chosen and fitted on rows of training alone: the best single learner, a few weights.

Nothing here can see a test frame.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.metrics.formulas import METRICS
from ensemble.predictions.level_zero import LevelZero
from ensemble.runs.paths import Outputs
from ensemble.settings.names import Role
from ensemble.settings.schema import ScoredSettings
from ensemble.stacking.training_rows import SampledPixels, TrainingRow, scores_of, training_protocol, training_rows
from meta.combiners import FITTED_COMBINERS, Combiner

CHOSEN_BY = "abs_rel"
"""Metric that names the best single learner."""


@dataclass(frozen=True)
class Baselines:
    """What was learnt from rows of training.

    Attributes:
        rows: ``oof``, or ``validation`` where the models of folds are not there: never what learners were trained on.
        best: The best single learner.
        scores: Mean of ``CHOSEN_BY`` over the rows, by learner.
        combiners: Fitted weights, by the name in the tables.
    """

    rows: str
    best: str
    scores: Mapping[str, float]
    combiners: Mapping[str, Combiner]


def baseline_rows(learners: Sequence[LevelZero]) -> Role:
    """Out-of-fold rows where every learner has models of all folds, validation rows otherwise."""
    return "oof" if all(learner.folds for learner in learners) else "validation"


def fit_baselines(
    learners: Sequence[LevelZero],
    outputs: Outputs,
    settings: ScoredSettings,
    watchers: Sequence[Callable[[TrainingRow], None]] = (),
) -> Baselines:
    """Choose the best single learner and fit the combiners.

    Args:
        learners: At least two.
        outputs: Where rows are.
        settings: Data and protocol.
        watchers: Are shown every row as well, so that what else is learnt from them needs no pass of its own.
    """
    role = baseline_rows(learners)
    protocol = training_protocol(settings)
    sums = np.zeros(len(learners))
    count = 0
    pixels = SampledPixels()
    for row in training_rows(learners, outputs, settings, role):
        for watch in watchers:
            watch(row)
        if not protocol.mask(row.target, row.valid).any():  # its truth may lie outside of the crop
            continue
        sums += scores_of(row.depths, row, protocol)[CHOSEN_BY]
        count += 1
        pixels.add(row)
    if not count:
        raise ValueError(f"{settings.experiment}: no {role} frame has a valid pixel to score")
    depths, target = pixels.arrays
    scores = {learner.name: float(each) for learner, each in zip(learners, sums / count, strict=True)}
    higher = METRICS[CHOSEN_BY].higher_is_better
    best = (max if higher else min)(scores, key=scores.__getitem__)
    return Baselines(role, best, scores, {name: make(depths, target) for name, make in FITTED_COMBINERS.items()})
