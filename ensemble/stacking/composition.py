"""Which learners, and how many seeds of each, make the best stack for a cost: chosen and judged on out-of-fold rows.

Sets are chosen by the squared log error of their mean in logs, because it alone is told by products of errors of two
candidates (``ensemble.stacking.greedy``), and because metrics pull apart: d1 likes depth too far, REL too near, the log
error neither. They are judged by what readers look at: the mean over the eight metrics of the error as a share of that
of the mean of all candidates.

A set that is judged by the frames that chose it looks too good. So the search is repeated without every fold, and the
frames of a fold are judged by the set that the other folds have chosen; so are the rivals, as many seeds of the best
learner as a budget buys, three at most. What is handed out is the set that all frames choose. No test frame is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64

from ensemble.data.division import open_experiment
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.metrics.statistics import paired_differences, resampled_means
from ensemble.predictions.level_zero import LevelZero
from ensemble.runs.paths import Outputs
from ensemble.settings.budgets import UNITS, CostBudget
from ensemble.settings.members import member_of
from ensemble.settings.schema import ScoredSettings
from ensemble.settings.trees import SettingsError
from ensemble.stacking.candidates import Cost
from ensemble.stacking.greedy import Counts, Limits, Products, best_set
from ensemble.stacking.training_rows import TrainingRow, scores_of, training_protocol, training_rows

SEEDS = 3
"""Seeds of the best learner that a composition is held against."""

EVERYTHING = "mean of all"
RIVAL = "seeds of the best"

Name = str | tuple[str, str]
"""Of a set: a budget, one of the two above, or ``(RIVAL, budget)`` for as many seeds of the best as a budget buys."""

Kind = Literal["chosen", "rival", "alone"]
Scores = Float64[np.ndarray, "sets frames metrics"]


@dataclass(frozen=True)
class Gain:
    """Two sets compared: the share of the other's error that is gone, mean over the eight metrics."""

    gain: float
    low: float  # lower end of the 95 % interval, by paired bootstrap over scenes
    high: float  # upper end
    better: int | None  # metrics on which it is significantly better, after Holm; absent where it was not tested
    worse: int | None  # metrics on which it is significantly worse, likewise


@dataclass(frozen=True)
class ComposedSet:
    """Members whose mean in logs is a depth."""

    name: str  # the budget that it was chosen for, or what it is
    kind: Kind
    members: Mapping[str, int]  # how often each counts
    cost: Cost  # of the distinct members
    scores: Mapping[str, float]  # metric -> mean over frames, each judged by what the other folds have chosen
    against_all: Gain  # the mean of all candidates
    against_seeds: Gain | None = None  # seeds of the best learner that its budget buys; only of chosen sets
    seeds: str | None = None  # the name of these
    by_fold: tuple[Mapping[str, int], ...] = ()  # what was chosen without each fold

    @property
    def text(self) -> str:
        """Its members for people."""
        return " + ".join(name if count == 1 else f"{count} x {name}" for name, count in self.members.items())

    @property
    def agreeing(self) -> int:
        """Folds without which the same set was chosen."""
        return sum(dict(each) == dict(self.members) for each in self.by_fold)


@dataclass(frozen=True)
class Composition:
    """Sets for every budget beside their rivals and the candidates by themselves."""

    experiment: str
    frames: int
    scenes: int
    folds: int
    sets: tuple[ComposedSet, ...]  # chosen ones, rivals, then members alone

    def of_kind(self, kind: Kind) -> tuple[ComposedSet, ...]:
        """Some of the sets."""
        return tuple(each for each in self.sets if each.kind == kind)

    def to_plain(self) -> dict[str, Any]:
        """Numbers, strings and lists, ready for JSON."""
        told = {"experiment": self.experiment, "rows": "oof", "frames": self.frames, "scenes": self.scenes}
        judged = "frames of a fold by what the other folds have chosen"
        return {**told, "folds": self.folds, "judged": judged, "sets": [asdict(each) for each in self.sets]}


@dataclass(frozen=True)
class Library:
    """The candidates as a search sees them."""

    names: tuple[str, ...]
    costs: tuple[Cost, ...]

    def limits(self, budget: CostBudget) -> Limits:
        """What a budget allows."""
        return Limits([getattr(cost, UNITS[budget.unit]) for cost in self.costs], budget.amount)

    def cost(self, counts: Counts) -> Cost:
        """Of the distinct members of a set."""
        used = [asdict(cost) for cost, count in zip(self.costs, counts, strict=True) if count]
        return Cost(**{field: sum(each[field] for each in used) for field in UNITS.values()})

    def members(self, counts: Counts) -> dict[str, int]:
        """Names and counts of what is in a set."""
        return {name: count for name, count in zip(self.names, counts, strict=True) if count}

    def sets(self, products: Products, budgets: Sequence[CostBudget]) -> dict[Name, Counts]:
        """The best set of every budget with its rival, and the rivals of all, by the frames of the products."""
        everything, seeds = (1,) * len(self.names), self.seeds_of_the_best(products, None)
        found: dict[Name, Counts] = {}
        rivals: dict[Name, Counts] = {EVERYTHING: everything, RIVAL: seeds or everything}
        for budget in budgets:
            limits = self.limits(budget)
            afforded = self.seeds_of_the_best(products, limits)
            chosen = best_set(products, limits, [each for each in (everything, seeds, afforded) if each])
            if chosen is None or afforded is None:
                cheapest = int(np.argmin(limits.costs))
                raise SettingsError(
                    f"--budget {budget.text}: the cheapest candidate, {self.names[cheapest]}, costs "
                    f"{limits.costs[cheapest]:.3g}{budget.unit} by itself"
                )
            found[budget.text], rivals[RIVAL, budget.text] = chosen, afforded
        return found | rivals

    def seeds_of_the_best(self, products: Products, limits: Limits | None) -> Counts | None:
        """As many seeds of the best single learner as limits allow, three at most."""
        groups: dict[str, list[int]] = {}
        for index, name in enumerate(self.names):
            groups.setdefault(member_of(name).learner, []).append(index)
        alone = np.diag(products)
        for indices in sorted(groups.values(), key=lambda each: float(alone[each].mean())):
            for many in range(min(SEEDS, len(indices)), 0, -1):
                counts = tuple(int(index in indices[:many]) for index in range(len(self.names)))
                if limits is None or limits.allows(counts):
                    return counts
        return None


def compose(
    members: Sequence[LevelZero], costs: Sequence[Cost], budgets: Sequence[CostBudget], outputs: Outputs
) -> Composition:
    """The best set of members for every budget, judged on frames that did not choose it.

    Rows that are missing are cached first.

    Raises:
        SettingsError: A budget is too small for every member.
        ValueError: Rows are missing or stale, or there are too few scenes to judge by.
    """
    library = Library(tuple(member.name for member in members), tuple(costs))
    settings = members[0].tested[0].settings
    fold_of = open_experiment(outputs, settings).division.folds.fold_of
    products, scenes = products_of(members, outputs, settings)
    folds = np.array([fold_of[scene] for scene in scenes])
    whole = library.sets(products.mean(axis=0), budgets)
    nested = {
        int(fold): library.sets(products[folds != fold].mean(axis=0), budgets) for fold in sorted(set(folds.tolist()))
    }
    scores = _judged(members, outputs, settings, [nested[int(fold)] for fold in folds])
    return _composition(settings.experiment, library, whole, nested, scores, scenes)


def products_of(
    members: Sequence[LevelZero], outputs: Outputs, settings: ScoredSettings
) -> tuple[Float64[np.ndarray, "frames k k"], list[str]]:
    """Mean products of log errors of every two members on every frame that has a pixel to score, and their scenes."""
    protocol = training_protocol(settings)
    products: list[np.ndarray] = []
    scenes: list[str] = []
    for row in training_rows(members, outputs, settings, "oof"):
        counted = protocol.mask(row.target, row.valid)[0, 0]
        if counted.any():
            errors = (row.depths[0][:, counted].log() - row.target[0, 0][counted].log()).double()
            products.append((errors @ errors.T / errors.shape[1]).numpy())
            scenes.append(row.frame.scene)
    if not products:
        raise ValueError(f"{settings.experiment}: no out-of-fold frame has a valid pixel to score")
    return np.stack(products), scenes


def _judged(
    members: Sequence[LevelZero], outputs: Outputs, settings: ScoredSettings, sets: Sequence[Mapping[Name, Counts]]
) -> Scores:
    """The eight metrics of the sets of every frame, and below them of every member alone."""
    protocol = training_protocol(settings)
    scores: list[np.ndarray] = []
    with torch.inference_mode():
        for row in training_rows(members, outputs, settings, "oof", fill=False):
            if protocol.mask(row.target, row.valid).any():
                maps = _means_in_logs(row, list(sets[len(scores)].values()))
                found = scores_of(torch.cat([maps, row.depths], dim=1), row, protocol)
                scores.append(np.stack([found[metric] for metric in TABLE_METRICS], axis=1))
    return np.stack(scores, axis=1).astype(np.float64)


def _means_in_logs(row: TrainingRow, sets: Sequence[Counts]) -> torch.Tensor:
    """Depth [1 sets h w] in metres."""
    counts = torch.tensor(sets, dtype=row.depths.dtype)
    shares = counts / counts.sum(dim=1, keepdim=True)
    return torch.einsum("sk,bkhw->bshw", shares, row.depths.log()).exp()


def _composition(
    experiment: str,
    library: Library,
    whole: Mapping[Name, Counts],
    nested: Mapping[int, Mapping[Name, Counts]],
    scores: Scores,
    scenes: Sequence[str],
) -> Composition:
    """Everything that was judged, once: seeds that a budget buys are left out where these are seeds of another row."""
    shown = _rivals([whole, *nested.values()])
    rows = [name for name in whole if shown.get(name, name) == name]
    judge = _Judge([*whole, *library.names], scores, scenes, rows)
    found = []
    for name in (*rows, *library.names):
        kind = _kind(name, whole)
        counts = whole[name] if kind != "alone" else tuple(int(each == name) for each in library.names)
        rival = shown[RIVAL, str(name)] if kind == "chosen" else None
        found.append(
            ComposedSet(
                _title(name, library, counts),
                kind,
                library.members(counts),
                library.cost(counts),
                judge.scores(name),
                judge.gain(name, EVERYTHING),
                judge.gain(name, rival) if rival else None,
                _title(rival, library, whole[rival]) if rival else None,
                tuple(library.members(each[name]) for each in nested.values()) if rival else (),
            )
        )
    return Composition(experiment, len(scenes), len(set(scenes)), len(nested), tuple(found))


def _rivals(sets: Sequence[Mapping[Name, Counts]]) -> dict[Name, Name]:
    """For the seeds of every budget the row that stands for them: the first one that is, by whatever frames, alike."""
    first: dict[tuple[Counts, ...], Name] = {tuple(each[RIVAL] for each in sets): RIVAL}
    return {
        name: first.setdefault(tuple(each[name] for each in sets), name) for name in sets[0] if isinstance(name, tuple)
    }


def _kind(name: Name, whole: Mapping[Name, Counts]) -> Kind:
    if name not in whole:
        return "alone"
    return "rival" if isinstance(name, tuple) or name in (EVERYTHING, RIVAL) else "chosen"


def _title(name: Name, library: Library, counts: Counts) -> str:
    if name == EVERYTHING:
        return f"mean of all {len(library.names)}"
    if isinstance(name, tuple) or name == RIVAL:
        members = [*library.members(counts)]
        many = "1 seed" if len(members) == 1 else f"{len(members)} seeds"
        return f"{many} of {member_of(members[0]).learner}"
    return name


class _Judge:
    """Compares sets; all comparisons share the same draws of scenes."""

    def __init__(self, names: Sequence[Name], scores: Scores, scenes: Sequence[str], tested: Sequence[Name]) -> None:
        self._names, self._higher = list(names), {name: METRICS[name].higher_is_better for name in TABLE_METRICS}
        self._means = scores.mean(axis=1)
        self._errors, self._drawn = (
            np.where([*self._higher.values()], 1 - means, means)
            for means in (self._means, resampled_means(scores, scenes))
        )
        rows = scores[[self._names.index(name) for name in tested]]
        self._verdicts: dict[tuple[str, str], list[str | None]] = {}
        for each in paired_differences(rows, scenes, rows=[str(name) for name in tested], metrics=self._higher):
            self._verdicts.setdefault((each.first, each.second), []).append(each.better)

    def scores(self, name: Name) -> dict[str, float]:
        """Means over the frames."""
        return dict(zip(TABLE_METRICS, self._means[self._names.index(name)].tolist(), strict=True))

    def gain(self, first: Name, second: Name) -> Gain:
        """The share of the second set's error that the first one does not make."""
        at, other = self._names.index(first), self._names.index(second)
        low, high = np.percentile(_gain(self._drawn[:, at], self._drawn[:, other]), (2.5, 97.5)).tolist()
        verdicts = self._verdicts.get((str(first), str(second)))
        better, worse = (None if verdicts is None else verdicts.count(side) for side in ("first", "second"))
        return Gain(float(_gain(self._errors[at], self._errors[other])), low, high, better, worse)


def _gain(first: Float64[np.ndarray, "*draws metrics"], second: Float64[np.ndarray, "*draws metrics"]) -> np.ndarray:
    """Mean over the metrics; one on which the second set makes no error says nothing."""
    return (1 - np.divide(first, second, out=np.ones_like(first), where=second > 0)).mean(axis=-1)
