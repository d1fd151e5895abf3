"""Pictures of a study: Optuna's own where it has them, and the best value over the budget that was spent."""

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
import optuna
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as drawn

from ensemble.metrics.formulas import METRICS
from ensemble.studies.comparing.comparison import ArmResult, Comparison
from ensemble.studies.comparing.merging import Pool
from ensemble.studies.design.study_file import StudySettings
from ensemble.studies.storage.records import is_higher_better

WIDTH, HEIGHT, DPI = 8.0, 4.6, 110
ENOUGH = 2
"""Complete trials that Optuna's pictures need."""

BACKEND = "agg"


def best_over_budget(arm: ArmResult, at: int, *, higher: bool) -> list[tuple[float, float]]:
    """Budget that an arm had spent after each of its trials, and its best value then in objective number ``at``."""
    best = None
    points: list[tuple[float, float]] = []
    for trial, spent in arm.in_order:
        if trial.state == "complete" and trial.feasible:
            value = trial.values[at]
            best = value if best is None else (max if higher else min)(best, value)
        if best is not None:
            points.append((spent, best))
    return points


def budget_picture(found: Comparison) -> bytes:
    """The best value of every arm over the budget that it has spent (PNG)."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    units = {study.budget.unit.replace("_", " ") for study in found.studies}
    for arm in found.arms:
        study = next(each for each in found.studies if each.name == arm.study)
        at = study.objectives.index(found.metric)
        points = best_over_budget(arm, at, higher=METRICS[found.metric].higher_is_better)
        if points:
            label = arm.arm.name if len(found.studies) == 1 else arm.name
            axes.step(*zip(*points, strict=True), where="post", marker=".", label=label)
    axes.set_xlabel(f"budget spent by the arm, {' or '.join(sorted(units))}")
    axes.set_ylabel(f"best {METRICS[found.metric].label} so far, validation scenes")
    axes.set_xlim(left=0)
    if axes.lines:
        axes.legend(frameon=False)
    return _png(figure)


def pool_pictures(study: StudySettings, pool: Pool) -> dict[str, bytes]:
    """What Optuna draws of trials together, by name; a picture that needs more than there is, is left out."""
    merged, complete = pool.merged, _complete(pool)
    if len(complete) < ENOUGH:
        return {}
    at = study.objectives.index(study.metric)
    given: dict[str, Any] = {"target_name": METRICS[study.metric].label}
    varied = varied_parameters(complete)
    pictures: dict[str, bytes] = {}
    if varied and len({each.values[at] for each in complete}) > 1:
        target = _lower_is_better(study)
        pictures["importances"] = _drawn(
            lambda: drawn.plot_param_importances(merged, params=varied, target=target, **given)
        )
    if len(study.objectives) > 1:
        given["target"] = lambda trial: trial.values[at]
    if varied:
        pictures["parallel"] = _drawn(lambda: drawn.plot_parallel_coordinate(merged, params=varied, **given), wide=True)
        pictures["slices"] = _drawn(lambda: drawn.plot_slice(merged, params=varied, **given), wide=True)
    if len(study.objectives) in (2, 3) and pool.is_whole:
        names = list(study.objectives)
        pictures["pareto"] = _drawn(lambda: drawn.plot_pareto_front(merged, target_names=names))
    return pictures


def pareto_front(study: StudySettings, pool: Pool) -> list[dict[str, Any]]:
    """Trials that no other trial beats in every objective, with their values and parameters."""
    if len(study.objectives) == 1:
        return []
    at, sign = 0, 1 if is_higher_better(study.objectives[0]) else -1
    front = sorted(pool.merged.best_trials, key=lambda trial: -sign * trial.values[at])
    return [{**dict(zip(study.objectives, trial.values, strict=True)), **trial.params} for trial in front]


def importances(study: StudySettings, pool: Pool) -> dict[str, float]:
    """How much every parameter decides the metric; empty where trials are too few."""
    complete = _complete(pool)
    at = study.objectives.index(study.metric)
    varied = varied_parameters(complete)
    if len(complete) < ENOUGH or not varied or len({each.values[at] for each in complete}) < ENOUGH:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(pool.merged, params=varied, target=_lower_is_better(study))


def varied_parameters(trials: Sequence[FrozenTrial]) -> list[str]:
    """Parameters that every trial has and that are not the same in all of them."""
    shared = set.intersection(*(set(trial.params) for trial in trials)) if trials else set[str]()
    return sorted(name for name in shared if len({str(trial.params[name]) for trial in trials}) > 1)


def _complete(pool: Pool) -> list[FrozenTrial]:
    return pool.merged.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _lower_is_better(study: StudySettings) -> Callable[[FrozenTrial], float] | None:
    """The metric as PED-ANOVA wants it among several objectives; a single one it turns by itself."""
    if len(study.objectives) == 1:
        return None
    at, sign = study.objectives.index(study.metric), -1 if is_higher_better(study.metric) else 1
    return lambda trial: sign * trial.values[at]


def _drawn(draw: Callable[[], Axes | np.ndarray], *, wide: bool = False) -> bytes:
    """A picture by Optuna (PNG); its remarks about drawing are not for the reader."""
    with warnings.catch_warnings(), matplotlib.rc_context({"font.size": 9}):
        warnings.simplefilter("ignore")
        matplotlib.use(BACKEND)
        axes = draw()
        first = axes if isinstance(axes, Axes) else axes.ravel()[0]
        figure = first.get_figure()
        if not isinstance(figure, Figure):
            raise ValueError("a picture by Optuna has no figure; expected one")
        figure.set_size_inches(WIDTH * (1.5 if wide else 1.0), HEIGHT)
        for each in figure.axes:  # between powers of ten there is no room for numbers
            each.xaxis.set_minor_formatter(NullFormatter())
            each.yaxis.set_minor_formatter(NullFormatter())
        return _png(figure)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, bbox_inches="tight")
    pyplot.close(figure)
    return stream.getvalue()
