"""Runs the arms of a sweep one after the other, and scores and measures what each has become."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ensemble.console import messages
from ensemble.data.division import open_experiment
from ensemble.data.loaders import FrameDataset, KeptFrames
from ensemble.metrics.formulas import METRICS, image_scores
from ensemble.metrics.protocols import prepare, protocol_of
from ensemble.metrics.statistics import resampled_means
from ensemble.predictions.predict import device_of
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.schema import LearnerSettings
from ensemble.settings.trees import SettingsError
from ensemble.studies.design.arms import Arm
from ensemble.studies.sweeps.sweep_file import SweepSettings, arms_of_sweep, settings_of_arm
from ensemble.training.cost import Profile, profile_network
from ensemble.training.layout import ready_for
from ensemble.training.learners import train_learner
from ensemble.training.networks import build_learner, load_network, predict_depth, unloaded


@dataclass(frozen=True)
class Interval:
    """A mean over frames, with its 95 % interval over scenes; no interval where there are fewer than two scenes."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class SweepRow:
    """What an arm has become.

    Attributes:
        scores: Mean over the validation frames of every metric.
        error: Of the sweep's metric.
        change: How much that differs from the first arm, frame by frame; ``None`` for the first arm itself.
        cost: Of one image at the size that the arm sees.
        seconds: Of training.
        scenes: That its frames are of.
    """

    arm: Arm
    scores: Mapping[str, float]
    error: Interval
    change: Interval | None
    cost: Profile
    seconds: float
    scenes: int


def check_sweep(sweep: SweepSettings, *, root: Path | None = None) -> list[LearnerSettings]:
    """Settings of every arm; refused before anything is trained where one of them cannot be built.

    Networks are built without memory for their weights.

    Raises:
        SettingsError: Settings contradict each other, or a network refuses them.
    """
    found = []
    for arm in arms_of_sweep(sweep):
        settings = settings_of_arm(sweep, arm, root=root)
        try:
            with torch.device("meta"):
                build_learner(unloaded(settings))
        except ValueError as error:
            raise SettingsError(f"{sweep.name}, arm {arm.name}: {error}") from error
        found.append(settings)
    return found


def run_sweep(sweep: SweepSettings, outputs: Outputs, *, root: Path | None = None, repeats: int = 5) -> list[SweepRow]:
    """Train every arm that is not trained yet, then score all on the validation scenes and measure what they cost.

    Costs are measured after all training, in the order of the arms, on one image in float32, on the device of training.

    Raises:
        SettingsError: An arm is impossible; nothing was trained then.
        ValueError: A run was begun with other settings.
    """
    arms, chosen, kept = arms_of_sweep(sweep), check_sweep(sweep, root=root), KeptFrames()
    runs: list[Run] = []
    for number, settings in enumerate(chosen, start=1):
        messages.print(f"{sweep.name}: arm {number} of {len(chosen)}, {settings.learner}")
        runs.append(train_learner(settings, outputs, kept=kept))
    tables, scenes = zip(
        *(_scores(settings, run, outputs) for settings, run in zip(chosen, runs, strict=True)), strict=True
    )
    errors, changes = _intervals(np.stack([table[sweep.metric] for table in tables]), scenes[0])
    return [
        SweepRow(
            arm,
            {metric: float(values.mean()) for metric, values in table.items()},
            error,
            change,
            _cost(settings, run, repeats=repeats),
            run.read_result().get("seconds", 0.0),
            len(set(scenes[0])),
        )
        for arm, table, error, change, settings, run in zip(arms, tables, errors, changes, chosen, runs, strict=True)
    ]


def front_of(rows: Sequence[SweepRow], metric: str) -> list[SweepRow]:
    """Arms than which none is both faster and better, the fastest first."""
    sign = -1 if METRICS[metric].higher_is_better else 1
    found: list[SweepRow] = []
    for row in sorted(rows, key=lambda row: (row.cost.milliseconds, sign * row.error.mean)):
        if not found or sign * row.error.mean < sign * found[-1].error.mean:
            found.append(row)
    return found


def _scores(settings: LearnerSettings, run: Run, outputs: Outputs) -> tuple[dict[str, np.ndarray], list[str]]:
    """Every metric of every validation frame that has a valid pixel, and the scenes of these frames."""
    experiment = open_experiment(outputs, settings)
    frames = experiment.division.frames.validation
    device = device_of(settings.training)
    network = ready_for(load_network(build_learner(unloaded(settings)), run), device)
    dataset = FrameDataset(experiment.source, frames, settings.seen)
    protocol = protocol_of(settings, "validation", flip_averaging=False, size=settings.seen.size)
    rows, scenes = [], []
    for index, frame in enumerate(frames):
        sample = dataset.sample(index)
        with torch.inference_mode():
            depth = predict_depth(network, sample["image"][None].to(device), settings, flip=False).cpu()
        *compared, _ = prepare(depth, sample["depth"][None], sample["valid"][None], protocol=protocol)
        scores = {metric: float(values[0]) for metric, values in image_scores(*compared).items()}
        if np.isfinite(scores["abs_rel"]):
            rows.append(scores)
            scenes.append(frame.scene)
    if not rows:
        raise SettingsError(f"{settings.experiment}: no validation frame has a valid pixel, so no arm can be scored")
    return {metric: np.array([scores[metric] for scores in rows]) for metric in rows[0]}, scenes


def _intervals(errors: np.ndarray, scenes: Sequence[str]) -> tuple[list[Interval], list[Interval | None]]:
    """The mean of every arm, and how much it differs from the first, from the same draws of scenes."""
    means, against = errors.mean(axis=1), (errors - errors[0]).mean(axis=1)
    if len(set(scenes)) < 2:
        return [Interval(float(mean)) for mean in means], [None, *(Interval(float(mean)) for mean in against[1:])]
    drawn = resampled_means(errors[..., None], scenes)[..., 0]
    found = []
    for values, centres in ((drawn, means), (drawn - drawn[:, :1], against)):
        ends = np.percentile(values, (2.5, 97.5), axis=0)
        found.append([Interval(*map(float, each)) for each in zip(centres, *ends, strict=True)])
    return found[0], [None, *found[1][1:]]


def _cost(settings: LearnerSettings, run: Run, *, repeats: int) -> Profile:
    network = load_network(build_learner(unloaded(settings)), run)
    return profile_network(network, settings.seen.size, device=device_of(settings.training), repeats=repeats)
