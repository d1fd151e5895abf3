"""Is a stack better than the plain mean? Asked of training scenes alone, so that designs can be chosen without a test.

A meta-learner is fitted as often as there are folds, to the out-of-fold rows of the other folds, and judged on those of
the fold that was left out: every frame is judged once, by a fit that never saw its scene, on depth by learners that
never saw it either. No test frame is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ensemble.data.division import open_experiment
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.metrics.statistics import Difference, paired_differences
from ensemble.runs.paths import Outputs
from ensemble.settings.schema import StackSettings
from ensemble.stacking.fit import fit_meta
from ensemble.stacking.stack import Stack, load_stack, stacked
from ensemble.stacking.training_rows import scores_of, training_protocol, training_rows
from meta.fusion import COMBINERS

ROWS = ("stack", "mean")

NEVER = 1_000_000
"""Epochs between two validations: the fold that is left out judges the last weights, and selects none."""


@dataclass(frozen=True)
class CrossValidation:
    """A stack beside the plain mean, on out-of-fold rows."""

    name: str  # of the stack
    frames: int  # number of frames that were scored
    scenes: int  # number of their scenes
    repeats: int  # fits per fold, from different seeds; their scores are averaged per frame
    scores: Mapping[str, Mapping[str, float]]  # row -> metric -> mean over frames
    differences: tuple[Difference, ...]  # stack minus mean, metric by metric

    @property
    def gain(self) -> float:
        """Mean over the metrics of the share of the mean's error that the stack takes away; d1 misses ``1 - d1``."""
        shares = []
        for metric in TABLE_METRICS:
            stack, mean = (self._error(row, metric) for row in ROWS)
            shares.append(0.0 if mean == 0 else 1 - stack / mean)
        return float(np.mean(shares))

    def to_plain(self) -> dict[str, Any]:
        """Numbers, strings and lists, ready for JSON."""
        return {
            "name": self.name,
            "rows": "oof",
            "frames": self.frames,
            "scenes": self.scenes,
            "repeats": self.repeats,
            "gain": self.gain,
            "scores": {row: dict(scores) for row, scores in self.scores.items()},
            "differences": [asdict(each) for each in self.differences],
        }

    def _error(self, row: str, metric: str) -> float:
        score = self.scores[row][metric]
        return 1 - score if METRICS[metric].higher_is_better else score


def cross_validate(
    settings: StackSettings, name: str, outputs: Outputs, *, seeds: Sequence[int], fresh: bool = False
) -> CrossValidation:
    """Fit a stack to the rows of all folds but one, for every fold and seed, and judge it on the one.

    Its runs are called ``<name>-without-fold-<k>``; ``fresh`` throws away what earlier ones of these names have
    written.

    Raises:
        ValueError: The stack is not fitted to out-of-fold rows, rows are missing, or a run was begun with other
            settings.
    """
    division = open_experiment(outputs, settings).division
    training = settings.training.model_copy(update={"validate_every": NEVER})
    fitted: dict[int, list[Stack]] = {}
    for fold in range(division.folds.count):
        for seed in seeds:
            repeat = f"-seed-{seed}" if seed != settings.seed else ""
            run = outputs.meta_run(settings.experiment, f"{name}-without-fold-{fold}{repeat}")
            changed = {"fold": fold, "seed": seed, "training": training}
            own = StackSettings.model_validate({**settings.model_dump(), **changed})
            fit_meta(own, run, outputs, fresh=fresh)
            fitted.setdefault(fold, []).append(load_stack(run, outputs, root=settings.data.root))
    learners, protocol = fitted[0][0].learners, training_protocol(settings)
    found: list[np.ndarray] = []
    scenes: list[str] = []
    for row in training_rows(learners, outputs, settings, "oof", fill=False):
        if not protocol.mask(row.target, row.valid).any():
            continue
        stacks = fitted[division.folds.fold_of[row.frame.scene]]
        with torch.inference_mode():
            fused = [stacked(stack, row.image, row.depths).depth for stack in stacks]
            maps = torch.cat([*fused, COMBINERS["mean"](row.depths)], dim=1)
        scored = scores_of(maps, row, protocol)
        table = np.stack([scored[metric] for metric in TABLE_METRICS], axis=1)
        found.append(np.stack([table[:-1].mean(axis=0), table[-1]]))
        scenes.append(row.frame.scene)
    scores = np.stack(found, axis=1)
    metrics = {metric: METRICS[metric].higher_is_better for metric in TABLE_METRICS}
    means = scores.mean(axis=1)
    return CrossValidation(
        name,
        len(scenes),
        len(set(scenes)),
        len(seeds),
        {row: dict(zip(TABLE_METRICS, values.tolist(), strict=True)) for row, values in zip(ROWS, means, strict=True)},
        tuple(paired_differences(scores, scenes, rows=ROWS, metrics=metrics)),
    )
