"""A stack that corrects, beside its network: weights and scale before the training, strengths after it.

Weights and scale are fitted to out-of-fold rows, so by errors of single fold models. The strengths are chosen on
validation scenes, which lie in no fold, through the models that predict at test time (``level0``: the full fits, or
the mean of the fold models): what they say is how much of a correction carries over to new scenes *and* to these
models, whose errors are a little smaller and otherwise biased than those of the fold models. Validation scenes have
chosen checkpoints of the full fits, but were never trained on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ensemble.data.division import open_experiment
from ensemble.predictions.level_zero import LevelZero
from ensemble.predictions.predict import device_of
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.schema import StackSettings
from ensemble.stacking.scale_correction import ScaleRows, fit_scale
from ensemble.stacking.shrinkage import UNDECIDED, Agreement, strength
from ensemble.stacking.stack import Stack, stacked
from ensemble.stacking.training_rows import SampledPixels, TrainingRow, scores_of, training_protocol, training_rows
from ensemble.training.networks import build_scale, build_stack, load_network, unloaded
from ensemble.training.weights import save_weights
from meta.combiners import ConstantWeights, weighted_log_mean
from meta.correction import Correction, ScaleHead
from meta.fusion import fuse, split_maps

WHOLE = (1.0, 1.0)
"""Strengths of both corrections as they were fitted."""


def fit_corrections(settings: StackSettings, learners: Sequence[LevelZero], outputs: Outputs) -> dict[str, Tensor]:
    """Weights of the log-mean and the scale of images, fitted to out-of-fold rows: the state of a ``Correction``.

    Rows of the fold that judges, if there is one, are left out. The strengths are those of a training: the residual
    alone.
    """
    pixels, scored = SampledPixels(), training_protocol(settings)
    for row in _rows_to_fit(settings, learners, outputs):
        if scored.mask(row.target, row.valid).any():  # as for the row of the weighted log-mean in tables
            pixels.add(row)
    weights = torch.tensor(weighted_log_mean(*pixels.arrays).weights)
    head = build_scale(settings).to(device_of(settings.training))
    rows = _seen(head, weights.to(device_of(settings.training)), _rows_to_fit(settings, learners, outputs))
    head.load_state_dict(fit_scale(rows), strict=False)
    correction = Correction(len(learners), head)
    correction.weights.copy_(weights)
    return {name: value.cpu() for name, value in correction.state_dict().items()}


def finish_corrections(
    settings: StackSettings, run: Run, learners: tuple[LevelZero, ...], outputs: Outputs
) -> Mapping[str, Any]:
    """Choose the strengths for the best weights of a run, and write them there.

    Returns:
        What is added to the run's result: the strengths, and the score on the validation scenes with them. That of a
        run that a fold judges stays as it is.
    """
    network = build_stack(unloaded(settings))
    load_network(network, run)
    stack = Stack(run.folder.name, settings, run, learners, network.to(device_of(settings.training)))
    rows = list(training_rows(learners, outputs, settings, "validation"))
    chosen = strengths(list(agreements(stack, rows).values()))
    set_strengths(stack, chosen)
    found = {"strengths": {"scale": chosen[0], "residual": chosen[1]}}
    score = _mean_score(stack, rows)
    save_weights(network, run.best, {"metric": settings.training.select, "score": score, **found})
    return found if settings.fold is not None else {**found, "best": score}


def strengths(agreement: Sequence[tuple[Agreement, ...]]) -> tuple[float, float]:
    """Those of scale and residual, each by itself: a residual without mean and a scale without shape do not overlap.

    Args:
        agreement: Of every scene, with the error of whole images and within them; no scenes cannot tell.
    """
    if not agreement:
        return UNDECIDED, UNDECIDED
    scale, residual = (strength(_joined(each)) for each in zip(*agreement, strict=True))
    return scale, residual


def set_strengths(stack: Stack, chosen: tuple[float, float]) -> None:
    """Let a stack correct so much, from now on."""
    if stack.network.correction is None:
        raise ValueError(f"{stack.name}: expected a stack that corrects, found weights {stack.network.weights}")
    stack.network.correction.strengths.copy_(torch.tensor(chosen))


@torch.inference_mode()
def agreements(stack: Stack, rows: Iterable[TrainingRow]) -> dict[str, tuple[Agreement, Agreement]]:
    """By scene, how scale and residual of a stack, as they were fitted, go with what is missing of the log depth.

    The correction of an image is its scale where it is the same everywhere, and the residual where it has mean 0. The
    stack corrects with its whole strengths afterwards.
    """
    set_strengths(stack, WHOLE)
    found: dict[str, np.ndarray] = {}
    for row in rows:
        if row.valid.any():
            found[row.frame.scene] = found.get(row.frame.scene, 0.0) + _agreement(stack, row)
    return {scene: (Agreement(*sums[:2, None]), Agreement(*sums[2:, None])) for scene, sums in found.items()}


def _agreement(stack: Stack, row: TrainingRow) -> np.ndarray:
    """Products and squares of the scale of one image, then those of its residual."""
    fused = stacked(stack, row.image, row.depths)
    weights, correction = split_maps(fused.maps, len(stack.learners))
    if correction is None:
        raise ValueError(f"{stack.name}: expected a stack that corrects, found weights alone")
    missing = row.target.log() - fuse(weights, row.depths, space="log").log()
    error, whole = missing[row.valid].double(), correction.double()
    scale, residual = whole.mean(), (whole - whole.mean())[row.valid]
    within = residual - residual.mean()
    products = error.mean() * scale, (error * within).mean()
    return np.array([products[0], scale.square(), products[1], within.square().mean()])


def _joined(scenes: Sequence[Agreement]) -> Agreement:
    return Agreement(*(np.concatenate([getattr(each, name) for each in scenes]) for name in ("products", "squares")))


@torch.inference_mode()
def _mean_score(stack: Stack, rows: Iterable[TrainingRow]) -> float:
    """Of the metric that selects weights, over the images that have any pixel to be scored."""
    protocol, metric = training_protocol(stack.settings), stack.settings.training.select
    scored = [row for row in rows if protocol.mask(row.target, row.valid).any()]
    values = [scores_of(stacked(stack, row.image, row.depths).depth, row, protocol)[metric] for row in scored]
    return float(np.mean(values))


def _rows_to_fit(settings: StackSettings, learners: Sequence[LevelZero], outputs: Outputs) -> Iterator[TrainingRow]:
    fold_of = open_experiment(outputs, settings).division.folds.fold_of
    for row in training_rows(learners, outputs, settings, "oof", fill=False):
        if settings.fold is None or fold_of[row.frame.scene] != settings.fold:
            yield row


@torch.inference_mode()
def _seen(head: ScaleHead, weights: Tensor, rows: Iterable[TrainingRow]) -> ScaleRows:
    """Every image with a valid pixel, as the head sees it, and what the weighted log-mean misses of its scale."""
    device, log_mean = weights.device, ConstantWeights(tuple(weights.tolist()), "log")
    features, statistics, target, scenes = [], [], [], []
    for row in (row for row in rows if row.valid.any()):
        pooled, numbers = head.seen(row.image.to(device), row.depths.to(device), weights)
        mean = log_mean.combine(row.depths)
        features.append(pooled[0].cpu().double().numpy())
        statistics.append(numbers[0].cpu().double().numpy())
        target.append((row.target.log() - mean.log())[row.valid].double().mean().item())
        scenes.append(row.frame.scene)
    return ScaleRows(np.stack(features), np.stack(statistics), np.array(target), scenes)
