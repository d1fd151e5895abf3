"""Is a stack better than the weighted log-mean? Asked of training scenes alone: designs are chosen without a test.

A meta-learner is fitted as often as there are folds, to the out-of-fold rows of the other folds, and judged twice:

- on the rows of the fold that was left out (leave-one-fold-out): every frame once, by a fit that never saw its scene,
  on depth by learners that never saw it either. Learners of the left-out fold err otherwise than those of the fit, and
  a fold that is deeper than the rest wants another scale, so that a correction of depth may get the wrong sign here;
- on validation scenes, which lie in no fold, through the mean of the models of the folds. What a correction is worth
  is read there. Its strengths, which are chosen on validation scenes, are chosen for every scene on the others.

No test frame is read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from ensemble.data.division import open_experiment
from ensemble.data.folds import Folds
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.metrics.protocols import EvalProtocol
from ensemble.metrics.statistics import Difference, paired_differences
from ensemble.predictions.level_zero import LevelZero
from ensemble.runs.paths import Outputs
from ensemble.settings.names import Role
from ensemble.settings.schema import StackSettings
from ensemble.stacking.choice import write_choice
from ensemble.stacking.corrections import agreements, set_strengths, strengths
from ensemble.stacking.fit import fit_meta
from ensemble.stacking.stack import Stack, load_stack, stacked
from ensemble.stacking.training_rows import SampledPixels, TrainingRow, scores_of, training_protocol, training_rows
from meta.combiners import ConstantWeights, weighted_log_mean
from meta.fusion import COMBINERS

STACK, MEAN, BAR = ROWS = ("stack", "mean", "weighted log-mean")

NEVER = 1_000_000
"""Epochs between two validations: the fold that is left out judges the last weights, and selects none."""

FrameScores = Float64[np.ndarray, "rows metrics"]


@dataclass(frozen=True)
class Judged:
    """A stack beside the plain mean and the weighted log-mean, on frames that none of them was fitted to."""

    rows: Role  # ``oof`` of the folds that were left out, or ``validation``
    frames: int  # number of frames that were scored
    scenes: int  # number of their scenes
    scores: Mapping[str, Mapping[str, float]]  # row -> metric -> mean over frames
    differences: tuple[Difference, ...]  # stack minus mean, metric by metric; none where there is a single scene
    against_bar: tuple[Difference, ...]  # stack minus weighted log-mean, likewise

    def gain(self, reference: str) -> float:
        """Mean over the metrics of the share of a row's error that the stack takes away; d1 misses ``1 - d1``."""
        shares = []
        for metric in TABLE_METRICS:
            stack, other = (self._error(row, metric) for row in (STACK, reference))
            shares.append(0.0 if other == 0 else 1 - stack / other)
        return float(np.mean(shares))

    def to_plain(self) -> dict[str, Any]:
        """Numbers, strings and lists, ready for JSON."""
        return {
            "rows": self.rows,
            "frames": self.frames,
            "scenes": self.scenes,
            "gain": self.gain(MEAN),
            "gain_over_bar": self.gain(BAR),
            "scores": {row: dict(scores) for row, scores in self.scores.items()},
            "differences": [asdict(each) for each in self.differences],
            "against_bar": [asdict(each) for each in self.against_bar],
        }

    def _error(self, row: str, metric: str) -> float:
        score = self.scores[row][metric]
        return 1 - score if METRICS[metric].higher_is_better else score


@dataclass(frozen=True)
class CrossValidation:
    """What both kinds of frames say of a stack."""

    name: str
    repeats: int  # fits per fold, from different seeds; their scores are averaged per frame
    left_out: Judged
    validation: Judged

    @property
    def choice_rel(self) -> float:
        """REL of the stack over all frames, those of folds and of validation scenes alike."""
        both = (self.left_out, self.validation)
        total = sum(each.frames * each.scores[STACK]["abs_rel"] for each in both)
        return total / sum(each.frames for each in both)

    def to_plain(self) -> dict[str, Any]:
        """Numbers, strings and lists, ready for JSON."""
        return {
            "name": self.name,
            "repeats": self.repeats,
            **self.left_out.to_plain(),
            "validation": self.validation.to_plain(),
            "choice_rel": self.choice_rel,
        }


def cross_validate(
    settings: StackSettings, name: str, outputs: Outputs, *, seeds: Sequence[int], fresh: bool = False
) -> CrossValidation:
    """Fit a stack to the rows of all folds but one, for every fold and seed, and judge it on what it never saw.

    Its runs are called ``<name>-without-fold-<k>``; ``fresh`` throws away what earlier ones of these names have
    written. What it says of the stack called ``name`` is kept beside its run, for reports that choose among stacks.

    Raises:
        ValueError: The stack is not fitted to out-of-fold rows, rows are missing, or a run was begun with other
            settings.
    """
    folds = open_experiment(outputs, settings).division.folds
    fitted = {fold: _fitted(settings, name, outputs, fold, seeds, fresh=fresh) for fold in range(folds.count)}
    learners, protocol = fitted[0][0].learners, training_protocol(settings)

    def rows() -> Iterator[TrainingRow]:
        of_folds = training_rows(learners, outputs, settings, "oof", fill=False)
        return (row for row in of_folds if protocol.mask(row.target, row.valid).any())

    bars = _bars(rows(), folds)
    scenes, left_out = [], []
    for row in rows():
        fold = folds.fold_of[row.frame.scene]
        left_out.append(_scored(row, fitted[fold], [bars[fold]], protocol))
        scenes.append(row.frame.scene)
    own = _on_validation(settings, outputs, [each for stacks in fitted.values() for each in stacks], bars)
    found = CrossValidation(name, len(seeds), _judged("oof", scenes, left_out), own)
    write_choice(settings, name, outputs, learners, found.choice_rel)
    return found


def _fitted(
    settings: StackSettings, name: str, outputs: Outputs, fold: int, seeds: Sequence[int], *, fresh: bool
) -> list[Stack]:
    """The stack without a fold, from every seed."""
    training = settings.training.model_copy(update={"validate_every": NEVER})
    stacks = []
    for seed in seeds:
        repeat = f"-seed-{seed}" if seed != settings.seed else ""
        run = outputs.meta_run(settings.experiment, f"{name}-without-fold-{fold}{repeat}")
        changed = {"fold": fold, "seed": seed, "training": training}
        fit_meta(StackSettings.model_validate({**settings.model_dump(), **changed}), run, outputs, fresh=fresh)
        stacks.append(load_stack(run, outputs, root=settings.data.root))
    return stacks


def _bars(rows: Iterable[TrainingRow], folds: Folds) -> dict[int, ConstantWeights]:
    """For every fold the weighted log-mean of the rows of the others."""
    pixels = {fold: SampledPixels() for fold in range(folds.count)}
    for row in rows:
        for fold, sampled in pixels.items():
            if fold != folds.fold_of[row.frame.scene]:
                sampled.add(row)
    return {fold: weighted_log_mean(*sampled.arrays) for fold, sampled in pixels.items()}


def _on_validation(
    settings: StackSettings, outputs: Outputs, stacks: Sequence[Stack], bars: Mapping[int, ConstantWeights]
) -> Judged:
    """Frames of validation scenes through the mean of the models of the folds, judged by all fits alike."""
    protocol = training_protocol(settings)
    folds = [LevelZero(learner.folds, learner.folds) for learner in stacks[0].learners]
    rows = [
        row
        for row in training_rows(folds, outputs, settings, "validation")
        if protocol.mask(row.target, row.valid).any()
    ]
    if not rows:
        raise ValueError(f"{settings.experiment}: no frame of the validation scenes has a valid pixel to score")
    chosen = [_strengths_without(stack, rows) if settings.corrects else {} for stack in stacks]
    scored = []
    for row in rows:
        for stack, by_scene in zip(stacks, chosen, strict=True):
            if by_scene:
                set_strengths(stack, by_scene[row.frame.scene])
        scored.append(_scored(row, stacks, list(bars.values()), protocol))
    return _judged("validation", [row.frame.scene for row in rows], scored)


def _strengths_without(stack: Stack, rows: Sequence[TrainingRow]) -> dict[str, tuple[float, float]]:
    """For every scene the strengths that the others choose."""
    found = agreements(stack, rows)
    return {
        scene: strengths([own for other, own in found.items() if other != scene])
        for scene in {row.frame.scene for row in rows}
    }


@torch.inference_mode()
def _scored(
    row: TrainingRow, stacks: Sequence[Stack], bars: Sequence[ConstantWeights], protocol: EvalProtocol
) -> FrameScores:
    """Scores of a frame in the order of ``ROWS``; those of fits that share a row are averaged."""
    own: list[Tensor] = [stacked(stack, row.image, row.depths).depth for stack in stacks]
    maps = torch.cat([*own, COMBINERS["mean"](row.depths), *(bar.combine(row.depths) for bar in bars)], dim=1)
    scored = scores_of(maps, row, protocol)
    table = np.stack([scored[metric] for metric in TABLE_METRICS], axis=1).astype(np.float64)
    parts = np.split(table, [len(stacks), len(stacks) + 1])
    return np.stack([part.mean(axis=0) for part in parts])


def _judged(role: Role, scenes: Sequence[str], scored: Sequence[FrameScores]) -> Judged:
    """Means and differences of frames, of which the scenes are given."""
    scores = np.stack(scored, axis=1)
    metrics = {metric: METRICS[metric].higher_is_better for metric in TABLE_METRICS}
    several = len(set(scenes)) > 1
    pairs = paired_differences(scores, scenes, rows=ROWS, metrics=metrics) if several else []
    means = scores.mean(axis=1)
    return Judged(
        role,
        len(scenes),
        len(set(scenes)),
        {row: dict(zip(TABLE_METRICS, values.tolist(), strict=True)) for row, values in zip(ROWS, means, strict=True)},
        *(tuple(each for each in pairs if (each.first, each.second) == (STACK, other)) for other in (MEAN, BAR)),
    )
