"""Which learner earns its place: all subsets of learners, combined by rules with few weights, on out-of-fold rows.

Weights are fitted on the rows of the other folds and scored on the fold that was left out. No test frame is read. A
single learner may be scaled as a subset of several may be, so that a second one earns nothing by that alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ensemble.data.division import open_experiment
from ensemble.metrics.formulas import METRICS, pixel_errors
from ensemble.metrics.statistics import holm, paired_differences
from ensemble.predictions.level_zero import LevelZero
from ensemble.runs.paths import Outputs
from ensemble.settings.schema import ScoredSettings
from ensemble.stacking.baselines import CHOSEN_BY
from ensemble.stacking.training_rows import training_protocol, training_rows
from meta.combiners import FITTED_COMBINERS, Combiner
from meta.fusion import COMBINERS

SHOWN = ("abs_rel", "rmse", "d1")
"""Metrics of the table; the first one chooses."""

ALONE = "alone"
"""Stands for the combiner of a single learner that is left as it is."""

SCALED = ("depth-range",)
"""Fitted combiners that do something to a single learner."""

FITTED_PIXELS = 20_000
"""Valid pixels that weights are fitted to, equally many of every frame."""

LEAST_PIXELS = 50
"""Of a frame, however many frames there are."""

LEVEL = 0.05
"""Corrected p-values below it decide."""

Subset = tuple[str, ...]
Verdict = Literal["earns its place", "does not earn its place", "does harm"]


@dataclass(frozen=True)
class SubsetScore:
    """One subset under one combiner."""

    learners: Subset
    combiner: str  # name in the tables; ``ALONE`` for a single learner as it is
    scores: Mapping[str, float]  # metric -> mean over frames


@dataclass(frozen=True)
class Place:
    """What the best combination of all learners loses without one of them.

    The frames of a fold are combined by the rule that is best on the other folds, with and without the learner.
    """

    learner: str
    combiner: str  # the best one of those that are left, over all folds
    difference: float  # mean of ``CHOSEN_BY`` over frames, without the learner minus with it; above 0 it is missed
    low: float  # lower end of the 95 % interval, by paired bootstrap over scenes
    high: float  # upper end
    p_holm: float  # of the difference, corrected over the learners
    verdict: Verdict

    @property
    def sentence(self) -> str:
        """The verdict for people."""
        label = METRICS[CHOSEN_BY].label
        how = {"earns its place": "rises", "does harm": "falls"}.get(self.verdict, "changes")
        size = f"{abs(self.difference):.4f}" if how != "changes" else f"{self.difference:+.4f}"
        sign = -1 if self.verdict == "does harm" else 1
        low, high = sorted((sign * self.low, sign * self.high))
        interval = f"95 % interval {low:.4f} to {high:.4f}, p {self.p_holm:.4f} after Holm"
        return f"{self.learner} {self.verdict}: without it {label} {how} by {size} ({interval})."


@dataclass(frozen=True)
class Comparison:
    """All subsets of some learners."""

    experiment: str
    frames: int  # number of frames that were scored
    scenes: int  # number of their scenes
    scores: tuple[SubsetScore, ...]  # every subset under every combiner
    places: tuple[Place, ...]  # one entry per learner

    @property
    def best(self) -> tuple[SubsetScore, ...]:
        """Every subset under its best combiner, single learners first."""
        found: dict[Subset, SubsetScore] = {}
        for each in self.scores:
            known = found.setdefault(each.learners, each)
            if each.scores[CHOSEN_BY] < known.scores[CHOSEN_BY]:
                found[each.learners] = each
        return tuple(found.values())

    def to_plain(self) -> dict[str, Any]:
        """Numbers, strings and lists, ready for JSON."""
        return {
            "experiment": self.experiment,
            "rows": "oof",
            "frames": self.frames,
            "scenes": self.scenes,
            "subsets": [asdict(each) for each in self.scores],
            "best": [asdict(each) for each in self.best],
            "places": [{**asdict(each), "sentence": each.sentence} for each in self.places],
        }


def compare_subsets(learners: Sequence[LevelZero], outputs: Outputs, settings: ScoredSettings) -> Comparison:
    """Score all subsets of learners under all cheap combiners, and ask of each learner whether it is missed.

    Raises:
        ValueError: Fewer than two learners, or rows are missing; the message holds the command that mends it.
    """
    names = [learner.name for learner in learners]
    if len(names) < 2:
        raise ValueError(f"compare-subsets: {len(names)} learner ({', '.join(names)}), expected 2 or more")
    division = open_experiment(outputs, settings).division
    fitted = _fit(learners, outputs, settings, division.folds.fold_of, len(division.frames.fit))
    protocol = training_protocol(settings)
    found: dict[tuple[Subset, str], list[list[float]]] = {}
    scenes: list[str] = []
    folds: list[int] = []
    for row in training_rows(learners, outputs, settings, "oof", fill=False):
        scored = protocol.mask(row.target, row.valid)[0, 0]
        if not scored.any():
            continue
        scenes.append(row.frame.scene)
        folds.append(fold := division.folds.fold_of[row.frame.scene])
        pixels, target = row.depths[:, :, scored][:, :, None], row.target[0, 0][scored][None, None, None]
        for subset in _subsets(len(names)):
            named = tuple(names[index] for index in subset)
            depths = _combined(pixels[:, list(subset)], fitted[subset, fold])
            maps = torch.cat(list(depths.values())).clamp(protocol.min_depth, protocol.max_depth)
            for combiner, scores in zip(depths, _scores(maps, target), strict=True):
                found.setdefault((named, combiner), []).append(scores)
    arrays = {cell: np.array(scores) for cell, scores in found.items()}
    scores = [
        SubsetScore(subset, combiner, dict(zip(SHOWN, array.mean(axis=0).tolist(), strict=True)))
        for (subset, combiner), array in arrays.items()
    ]
    comparison = Comparison(settings.experiment, len(scenes), len(set(scenes)), tuple(scores), ())
    per_frame = {
        best.learners: (best.combiner, _chosen_on_other_folds(arrays, best.learners, np.array(folds)))
        for best in comparison.best
    }
    return replace(comparison, places=_places(names, per_frame, scenes))


def _subsets(learners: int) -> Iterator[tuple[int, ...]]:
    for size in range(1, learners + 1):
        yield from combinations(range(learners), size)


def _fit(
    learners: Sequence[LevelZero],
    outputs: Outputs,
    settings: ScoredSettings,
    fold_of: Mapping[str, int],
    frames: int,
) -> dict[tuple[tuple[int, ...], int], dict[str, Combiner]]:
    """Weights of every subset for every fold, from pixels of the other folds."""
    rng, wanted = np.random.default_rng(0), max(LEAST_PIXELS, FITTED_PIXELS // frames)
    depths: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    folds: list[np.ndarray] = []
    for row in training_rows(learners, outputs, settings, "oof"):
        valid = np.flatnonzero(row.valid.numpy())
        chosen = rng.choice(valid, min(wanted, len(valid)), replace=False)
        depths.append(row.depths[0].flatten(1).numpy()[:, chosen].T)
        truth.append(row.target.flatten().numpy()[chosen])
        folds.append(np.full(len(chosen), fold_of[row.frame.scene]))
    pixels, target, left_out = (np.concatenate(each) for each in (depths, truth, folds))
    return {
        (subset, fold): {
            name: make(pixels[left_out != fold][:, list(subset)], target[left_out != fold])
            for name, make in FITTED_COMBINERS.items()
            if len(subset) > 1 or name in SCALED
        }
        for fold in sorted(set(fold_of.values()))
        for subset in _subsets(len(learners))
    }


def _combined(depths: Float[Tensor, "1 k 1 n"], fitted: Mapping[str, Combiner]) -> dict[str, Float[Tensor, "1 1 1 n"]]:
    """The depth of a subset under every combiner."""
    alone = depths.shape[1] == 1
    plain = {ALONE: depths} if alone else {name: combine(depths) for name, combine in COMBINERS.items()}
    return plain | {name: each.combine(depths) for name, each in fitted.items()}


def _scores(maps: Float[Tensor, "b 1 1 n"], target: Float[Tensor, "1 1 1 n"]) -> list[list[float]]:
    """The shown metrics of every map over pixels that all are valid."""
    truth = target.expand(maps.shape)
    errors = pixel_errors(maps, truth, torch.ones_like(truth, dtype=torch.bool))
    return torch.stack([METRICS[metric].formula(errors) for metric in SHOWN], dim=1).tolist()


def _chosen_on_other_folds(
    arrays: Mapping[tuple[Subset, str], Float64[np.ndarray, "frames metrics"]], subset: Subset, folds: np.ndarray
) -> Float64[np.ndarray, " frames"]:
    """``CHOSEN_BY`` of every frame, under the rule that is best on the frames of the other folds."""
    by_rule = np.stack([array[:, SHOWN.index(CHOSEN_BY)] for (own, _), array in arrays.items() if own == subset])
    found = np.empty(by_rule.shape[1])
    for fold in np.unique(folds):
        others = folds != fold if (folds != fold).any() else folds == fold
        found[folds == fold] = by_rule[by_rule[:, others].mean(axis=1).argmin(), folds == fold]
    return found


def _places(
    names: Sequence[str],
    per_frame: Mapping[Subset, tuple[str, Float64[np.ndarray, " frames"]]],
    scenes: Sequence[str],
) -> tuple[Place, ...]:
    """What the combination of all loses without each learner; p-values are corrected over the learners."""
    _, together = per_frame[tuple(names)]
    found = []
    for name in names:
        combiner, without = per_frame[tuple(each for each in names if each != name)]
        pair = np.stack([without, together])[:, :, None]
        metrics = {CHOSEN_BY: METRICS[CHOSEN_BY].higher_is_better}
        (difference,) = paired_differences(pair, scenes, rows=("without", "with"), metrics=metrics)
        found.append((name, combiner, difference))
    corrected = holm(np.array([difference.p for *_, difference in found]))
    return tuple(
        Place(name, combiner, each.difference, each.low, each.high, float(p), _verdict(each.difference, float(p)))
        for (name, combiner, each), p in zip(found, corrected, strict=True)
    )


def _verdict(difference: float, p: float) -> Verdict:
    if p >= LEVEL or difference == 0:
        return "does not earn its place"
    return "earns its place" if difference > 0 else "does harm"
