"""The arms of studies side by side, on validation scenes only: the best of each, intervals, what went wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from ensemble.data.division import open_experiment
from ensemble.data.loaders import FrameDataset
from ensemble.metrics.formulas import METRICS, image_scores
from ensemble.metrics.protocols import prepare as prepared
from ensemble.metrics.protocols import protocol_of
from ensemble.metrics.statistics import Difference, mean_and_deviation, paired_differences, resampled_means
from ensemble.predictions.level_zero import level_zero_of, open_rows
from ensemble.runs.paths import Outputs
from ensemble.runs.records import stored_settings
from ensemble.settings.schema import LearnerSettings, StackSettings
from ensemble.settings.trees import SettingsError
from ensemble.studies.comparing.beforehand import seconds_beforehand
from ensemble.studies.comparing.merging import Pool, pools_of
from ensemble.studies.design.arms import Arm, arms_of
from ensemble.studies.design.study_file import StudySettings
from ensemble.studies.running.repeats import Repeats, read_scores, repeat_best
from ensemble.studies.running.trials import WorkerContext, tuned_numbers
from ensemble.studies.storage.records import Trial, begun_trials, best_of


@dataclass(frozen=True)
class ArmResult:
    """The best setting of one arm."""

    study: str
    arm: Arm
    best: Trial | None  # its best trial; ``None`` where none is complete
    value: float | None  # mean over validation frames of the metric: of that trial, or of its repeats
    low: float | None  # lower end of the 95 % interval over scenes; absent where there are fewer than two scenes
    high: float | None  # upper end
    deviation: float | None  # over repeats
    repeats: int  # fits that ``value`` is the mean of
    failed_repeats: Mapping[int, str]  # seed -> why its fit failed; these are left out of ``value``
    plain_mean: float | None  # the same metric of the plain mean of its learners' cached depth; frozen arms have it
    learners_seconds: float | None  # training time of the learners and teachers below it; absent where not known
    trials: tuple[Trial, ...]
    numbers: Mapping[str, Any]  # tuned setting -> value of the best trial

    @property
    def name(self) -> str:
        """Of the row."""
        return f"{self.study}/{self.arm.name}"

    @property
    def spent(self) -> float:
        """Budget of all trials together."""
        return sum(trial.spent for trial in self.trials)

    @property
    def in_order(self) -> list[tuple[Trial, float]]:
        """Finished trials in the order in which they ended, each with the budget that the arm had spent then."""
        finished = sorted((trial for trial in self.trials if trial.finished), key=lambda trial: trial.ended or 0.0)
        return list(zip(finished, accumulate(trial.spent for trial in finished), strict=True))

    def count(self, state: str) -> int:
        """Trials of a state."""
        return sum(trial.state == state for trial in self.trials)


@dataclass(frozen=True)
class Comparison:
    """Everything that the pages tell."""

    studies: tuple[StudySettings, ...]
    metric: str  # objective on the validation scenes
    arms: tuple[ArmResult, ...]
    differences: tuple[Difference, ...]  # every pair of arms, corrected together; none of fewer than two scenes
    scenes: int  # number of validation scenes
    frames: int  # number of validation frames
    pools: Mapping[str, tuple[Pool, ...]]  # study -> its trials as they are looked at together
    budget: str  # of a trial, and of the repeats where there are any, in words
    seeds: tuple[int, ...]  # of the repeats


@dataclass
class _Scored:
    """An arm with the scores of its frames."""

    result: ArmResult
    scores: dict[str, float] = field(default_factory=dict)
    scene_of: dict[str, str] = field(default_factory=dict)


def compare_studies(contexts: Sequence[WorkerContext], *, seeds: Sequence[int], budget: str | None) -> Comparison:
    """Compare all arms of some studies.

    With ``seeds`` the best setting of every arm is fitted from each of them first, at ``budget`` (``500steps`` or
    ``300seconds``); without, the trials themselves count.

    Raises:
        SettingsError: Metrics differ, no trial of a study is finished, or the arms were scored on different frames.
        StorageDownError: A storage does not answer.
    """
    studies = tuple(context.study for context in contexts)
    metrics = {study.metric for study in studies}
    if len(metrics) > 1:
        raise SettingsError(f"studies with different metrics cannot be compared: {', '.join(sorted(metrics))}")
    metric = metrics.pop()
    found = [_finished_trials(context) for context in contexts]
    scored: list[_Scored] = []
    pools: dict[str, tuple[Pool, ...]] = {}
    for context, trials in zip(contexts, found, strict=True):
        pools[context.study.name] = pools_of(context.study, trials)
        for arm in arms_of(context.study):
            own = tuple(trial for trial in trials if trial.arm == arm.name)
            scored.append(_arm(context, arm, own, seeds=seeds, budget=budget))
    arms, differences, scenes, frames = _with_intervals(scored, metric)
    first = studies[0].budget
    told = f"{first.amount:g} {first.unit.replace('_', ' ')} a trial"
    if seeds:
        told += f"; {len(seeds)} repeats of {budget or 'the same budget'} from seeds {', '.join(map(str, seeds))}"
    return Comparison(studies, metric, arms, differences, scenes, frames, pools, told, tuple(seeds))


def _finished_trials(context: WorkerContext) -> list[Trial]:
    """All trials of a study; refused where none is finished, so that there is nothing to compare yet."""
    trials = begun_trials(context.study, context.url, context.folder)
    if not any(trial.finished for trial in trials):
        raise SettingsError(
            f"{context.study.name}: {len(trials)} trials were begun and none is finished, so there is nothing to "
            f"compare yet. How far it is tells: {context.outputs.command('study', 'show', context.study.name)}"
        )
    return trials


def _arm(
    context: WorkerContext, arm: Arm, trials: tuple[Trial, ...], *, seeds: Sequence[int], budget: str | None
) -> _Scored:
    study = context.study
    best = best_of(study, trials)
    numbers = {} if best is None else tuned_numbers(study, arm, best)
    empty = ArmResult(study.name, arm, best, None, None, None, None, 0, {}, None, 0.0, trials, numbers)
    if best is None:
        return _Scored(empty)
    first = context.folder.trial(arm.name, best.folder)
    repeats = Repeats((first,), {})
    if seeds:
        repeats = repeat_best(context, arm, best, numbers, seeds=seeds, budget=budget)
    if not repeats.runs:
        return _Scored(replace(empty, failed_repeats=repeats.failed))
    settings = stored_settings(StackSettings if study.learner is None else LearnerSettings, first.settings)
    each = [read_scores(run, study.metric) for run in repeats.runs]
    scores = {frame: sum(found[frame] for found in each) / len(each) for frame in each[0]}
    experiment = open_experiment(context.outputs, settings)
    validation = experiment.division.frames.validation
    spread = mean_and_deviation([sum(found.values()) / len(found) for found in each])
    result = replace(
        empty,
        value=spread.mean,
        deviation=spread.deviation,
        repeats=spread.repeats,
        failed_repeats=repeats.failed,
        plain_mean=_plain_mean(settings, context.outputs, study.metric),
        learners_seconds=seconds_beforehand(settings, context.outputs),
    )
    return _Scored(result, scores, {frame.id: frame.scene for frame in validation})


def _with_intervals(
    scored: Sequence[_Scored], metric: str
) -> tuple[tuple[ArmResult, ...], tuple[Difference, ...], int, int]:
    """The arms with intervals, and every pair of them."""
    there = [each for each in scored if each.result.value is not None]
    frames = sorted(there[0].scores) if there else []
    for each in there:
        if sorted(each.scores) != frames:
            raise SettingsError(
                f"{each.result.name} was scored on other validation frames than {there[0].result.name}; "
                "compare studies of the same data"
            )
    groups = [there[0].scene_of[frame] for frame in frames]
    differences: list[Difference] = []
    if len(set(groups)) > 1:
        table = np.array([[each.scores[frame] for frame in frames] for each in there])[..., None]
        ends = np.percentile(resampled_means(table, groups)[..., 0], (2.5, 97.5), axis=0).T.tolist()
        for each, (low, high) in zip(there, ends, strict=True):
            each.result = replace(each.result, low=low, high=high)
        if len(there) > 1:
            names, better = [each.result.name for each in there], {metric: METRICS[metric].higher_is_better}
            differences = paired_differences(table, groups, rows=names, metrics=better, family="all")
    return tuple(each.result for each in scored), tuple(differences), len(set(groups)), len(frames)


def _plain_mean(settings: StackSettings | LearnerSettings, outputs: Outputs, metric: str) -> float | None:
    """The metric of the mean of the learners' cached depth, over the validation frames; of frozen stacks alone."""
    if isinstance(settings, LearnerSettings) or settings.mode != "frozen":
        return None
    experiment = open_experiment(outputs, settings)
    frames = experiment.division.frames.validation
    learners = level_zero_of(settings, outputs)
    rows = {each.name: open_rows(each, experiment, frames, "validation") for each in learners}
    dataset = FrameDataset(experiment.source, frames, settings.data, rows)
    protocol = protocol_of(settings, "validation", flip_averaging=False, size=settings.data.size)
    found: list[float] = []
    for index in range(len(dataset)):
        sample = dataset.sample(index)
        mean = sample["predictions"].mean(dim=0, keepdim=True)[None]
        *compared, _ = prepared(mean, sample["depth"][None], sample["valid"][None], protocol=protocol)
        score = image_scores(*compared)[metric]
        found += [float(score[0])] if torch.isfinite(score[0]) else []
    return sum(found) / len(found)
