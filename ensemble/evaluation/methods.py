"""Who is scored side by side: learners, the baselines, stacks with their repeats."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ensemble.console import messages
from ensemble.data.division import open_experiment
from ensemble.data.loaders import DepthRows
from ensemble.data.source import Frame
from ensemble.evaluation.calibration import CalibrationFit, kept_calibration
from ensemble.evaluation.constant import MeanLogDepth
from ensemble.predictions.foreign.import_depth import check_free_name
from ensemble.predictions.learners import TrainedLearner, common_data, trained_learner
from ensemble.predictions.level_zero import LevelZero, level_zero_of
from ensemble.predictions.plan import seeds_of_equal_cost
from ensemble.predictions.training_commands import training_command
from ensemble.runs.claims import with_influence
from ensemble.runs.names import BEST_SINGLE, SEED_MEAN
from ensemble.runs.paths import FULL, Outputs, seed_model
from ensemble.stacking.baselines import Baselines, baseline_rows, fit_baselines
from ensemble.stacking.stack import Stack, stacked
from meta.fusion import COMBINERS, check_depths
from meta.weighing import Fused

Models = tuple[str, tuple[str, ...]]
"""A learner and the models whose mean is its depth."""


@dataclass(frozen=True)
class StackMethod:
    """A stack, fitted once or from several seeds.

    Attributes:
        repeats: Fits with the same settings but for the seed; the first one gives the row its name.
    """

    repeats: tuple[Stack, ...]

    @property
    def first(self) -> Stack:
        """The fit that stands for all."""
        return self.repeats[0]

    @property
    def name(self) -> str:
        """Name of the row."""
        return self.first.name

    @property
    def trains_learners(self) -> bool:
        """Whether every repeat has learners of its own, which were trained with it."""
        return self.first.settings.mode != "frozen"


class Predicted(NamedTuple):
    """One method's depth of frames.

    Attributes:
        name: Of the row.
        repeat: Which of its repeats.
        depth: Metres, [b 1 h w].
        fused: Of a stack, what that depth is made of.
    """

    name: str
    repeat: int
    depth: Tensor
    fused: Fused | None = None

    def of(self, index: int) -> "Predicted":
        """The same of one of the frames."""
        fused = None if self.fused is None else self.fused.of(index)
        return Predicted(self.name, self.repeat, self.depth[index : index + 1], fused)


@dataclass(frozen=True)
class Methods:
    """Everything that is scored but constants and bounds.

    Attributes:
        learners: Scored by themselves, and combined by the baselines.
        stacks: In the order of the table.
        baselines: Choices and weights from rows of training; ``None`` for a single learner.
        seed_models: The best single learner with as many seeds as there are learners; ``None`` where they are missing.
        constant: What rows of training have told of it by the way.
    """

    learners: tuple[LevelZero, ...]
    stacks: tuple[StackMethod, ...] = ()
    baselines: Baselines | None = None
    seed_models: LevelZero | None = None
    constant: MeanLogDepth | None = None

    def level_zero(self) -> dict[Models, LevelZero]:
        """Every set of models whose mean is somebody's depth, each once."""
        stacked = [learner for stack in self.stacks for fitted in stack.repeats for learner in fitted.learners]
        seeds = [self.seed_models] if self.seed_models is not None else []
        return {models_of(learner): learner for learner in (*self.learners, *stacked, *seeds)}

    def own_learners(self, stack: StackMethod) -> bool:
        """Whether a repeat of a stack weighs other models than those that are scored by themselves."""
        scored = _models_of_all(self.learners)
        return any(_models_of_all(fitted.learners) != scored for fitted in stack.repeats)

    def predictions(
        self, frames: Sequence[Frame], image: Tensor, rows: Mapping[Models, DepthRows]
    ) -> Iterator["Predicted"]:
        """Everybody's depth of frames at the working size.

        Args:
            frames: Which.
            image: RGB [b 3 h w] at the working size.
            rows: Cached depth of every ``level_zero``.
        """
        depths = read_depths(self.learners, rows, frames)
        by_name = {learner.name: depths[:, index : index + 1] for index, learner in enumerate(self.learners)}
        yield from (Predicted(name, 0, depth) for name, depth in by_name.items())
        if self.baselines is None:
            return
        yield Predicted(BEST_SINGLE, 0, by_name[self.baselines.best])
        if self.seed_models is not None:
            yield Predicted(SEED_MEAN, 0, read_depths([self.seed_models], rows, frames))
        yield from (Predicted(name, 0, combine(depths)) for name, combine in COMBINERS.items())
        yield from (Predicted(name, 0, each.combine(depths)) for name, each in self.baselines.combiners.items())
        read = {_models_of_all(self.learners): depths}
        for stack in self.stacks:
            own_learners = self.own_learners(stack)
            for repeat, fitted in enumerate(stack.repeats):
                key = _models_of_all(fitted.learners)
                if key not in read:
                    read[key] = read_depths(fitted.learners, rows, frames)
                own = read[key]
                if own_learners and (repeat == 0 or stack.trains_learners):
                    yield Predicted(f"mean of {stack.name}", repeat, COMBINERS["mean"](own))
                fused = stacked(fitted, image, own)
                yield Predicted(stack.name, repeat, fused.depth, fused)


def gather(stacks: Sequence[Stack], outputs: Outputs) -> Methods:
    """Stacks beside their learners and the baselines; fits that differ in nothing but their seed share a row.

    One pass over rows of training tells the baselines, the constant, and how uncertain each stack is.

    Raises:
        ValueError: The stacks weigh different learners.
    """
    first = stacks[0]
    for stack in stacks[1:]:
        if _weighed(stack) != _weighed(first):
            raise ValueError(
                f"{first.name} weighs {_weighed(first)}, {stack.name} weighs {_weighed(stack)}: "
                "evaluate them one by one"
            )
    frozen = [stack for stack in stacks if stack.settings.mode == "frozen" and stack.settings.level0 == "full"]
    known = sorted(frozen or stacks, key=lambda stack: not stack.learners[0].folds)
    learners = known[0].learners
    grouped = _grouped(stacks)
    own = _with_folds(known[0], outputs)
    fits = [CalibrationFit(each.first) for each in grouped if kept_calibration(each.first) is None]
    fits = [fit for fit in fits if fit.learns_from(own, baseline_rows(own))]
    constant = MeanLogDepth(open_experiment(outputs, first.settings).division.frames.fit, first.settings.data)
    baselines = fit_baselines(own, outputs, first.settings, [constant.add, *(fit.add for fit in fits)])
    for fit in fits:
        fit.finish()
    best = next(learner for learner in learners if learner.name == baselines.best)
    return Methods(learners, grouped, baselines, _seed_models(best, len(learners), outputs), constant)


def _with_folds(stack: Stack, outputs: Outputs) -> tuple[LevelZero, ...]:
    """A stack's learners, with the models of all folds where the stack did not need them but they are there."""
    settings = stack.settings
    if settings.mode != "frozen" or stack.learners[0].folds:
        return stack.learners
    try:
        found = level_zero_of(settings, outputs, rows="oof")
        common_data([model for learner in found for model in learner.models])
    except ValueError as error:
        messages.print(f"the best single learner and the fitted weights come from validation rows: {error}")
        return stack.learners
    return found


def read_depths(learners: Sequence[LevelZero], rows: Mapping[Models, DepthRows], frames: Sequence[Frame]) -> Tensor:
    """Depth [b k h w] of learners on frames, in metres.

    Raises:
        ValueError: A learner's depth is not finite.
    """
    depths = torch.from_numpy(
        np.stack([[rows[models_of(learner)].read(frame.id) for learner in learners] for frame in frames])
    )
    check_depths(depths, [learner.name for learner in learners])
    return depths


def models_of(learner: LevelZero) -> Models:
    """The learner and the models whose mean is its depth."""
    return learner.name, tuple(model.model for model in learner.tested)


def _models_of_all(learners: Sequence[LevelZero]) -> tuple[Models, ...]:
    return tuple(map(models_of, learners))


def _weighed(stack: Stack) -> str:
    return f"{', '.join(stack.settings.learners)} of {stack.settings.experiment}"


def _grouped(stacks: Sequence[Stack]) -> tuple[StackMethod, ...]:
    groups: dict[str, list[Stack]] = {}
    for stack in stacks:
        check_free_name(stack.name)
        settings = with_influence({**stack.settings.model_dump(mode="json"), "seed": 0})
        groups.setdefault(json.dumps(settings, sort_keys=True), []).append(stack)
    return tuple(StackMethod(tuple(sorted(group, key=lambda stack: stack.settings.seed))) for group in groups.values())


def _seed_models(best: LevelZero, count: int, outputs: Outputs) -> LevelZero | None:
    """The full fit of the best learner and further ones from other seeds: as many as there are learners to stack."""
    full = next((model for model in best.tested if model.model == FULL), None)
    if full is None and len(best.tested) == 1:  # a stack's own learner: its full fit may be there as well
        settings = best.tested[0].settings
        if outputs.learner_run(settings.experiment, settings.learner).result.is_file():
            full = trained_learner(outputs, settings.experiment, settings.learner, root=settings.data.root)
    if full is None:
        why = f"a full fit of {best.name} is not there" if len(best.tested) == 1 else "every learner is a mean of folds"
        messages.print(f"no row seed-mean: {why}, so there is nothing of equal cost to take seeds of")
        return None
    if full.is_import:
        messages.print(f"no row seed-mean: the best single learner, {best.name}, was imported and has no seeds")
        return None
    settings = full.network_settings
    wanted = seeds_of_equal_cost(settings.seed, count)
    root, where = settings.data.root, (outputs, settings.experiment, settings.learner)
    runs = {seed: outputs.learner_run(*where[1:], seed_model(seed)) for seed in wanted}
    missing = [seed for seed, run in runs.items() if not run.result.is_file()]
    if missing:
        command = training_command(*where, *map(seed_model, missing), root=root)
        messages.print(
            f"no row seed-mean: {count} seeds of the best single learner cost as much as {count} learners.\n"
            f"Run: {command}",
            soft_wrap=True,
        )
        return None
    models: list[TrainedLearner] = [full]
    models += [trained_learner(*where, seed_model(seed), root=root) for seed in wanted]
    return LevelZero(tuple(models))
