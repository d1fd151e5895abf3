"""Before the first trial: every arm must be possible here, and the learners that it weighs must be there."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch

from ensemble.console import messages
from ensemble.data import open_source
from ensemble.data.division import open_experiment
from ensemble.data.unlabelled import find_unlabelled, fitted_among
from ensemble.distillation.asked import asked_teacher
from ensemble.distillation.checks import check_another, check_lesson, check_student
from ensemble.distillation.lessons import open_teacher
from ensemble.predictions.available import learner_settings_of, networks_of
from ensemble.predictions.level_zero import cache_level_zero, level_zero_of
from ensemble.predictions.training_commands import training_command
from ensemble.runs.locks import LockedError
from ensemble.runs.paths import FULL, Outputs, Run, fold_model, parts_of, seed_model
from ensemble.settings.layers import Choice, learner_settings
from ensemble.settings.members import member_of
from ensemble.settings.names import Role
from ensemble.settings.schema import LearnerSettings, StackSettings
from ensemble.settings.trees import SettingsError, assignments_of, flat
from ensemble.studies.design.arms import Arm, arms_of, lowest_numbers, settings_of
from ensemble.studies.design.study_file import PreparedSettings, StudySettings
from ensemble.studies.running.trials import WorkerContext, study_settings
from ensemble.training.learners import train_learner
from ensemble.training.networks import build_stack, check_learner, unloaded


class Needed(NamedTuple):
    """A model of a learner that an arm rests on."""

    experiment: str
    learner: str
    model: str

    def run(self, outputs: Outputs) -> Run:
        """Its files."""
        return outputs.learner_run(*self)


def check_arms(context: WorkerContext) -> None:
    """Refuse a study before its first trial where an arm is impossible, whatever numbers are drawn.

    Raises:
        SettingsError: Settings contradict each other, this device cannot run an arm, or there is no such teacher.
    """
    for arm in arms_of(context.study):
        numbers = lowest_numbers(context.study, arm)
        settings = settings_of(context.study, arm, numbers, context.outputs, root=context.root)
        where = f"{context.study.name}, arm {arm.name}"
        on_gpu = settings.training.device != "cpu" and torch.cuda.is_available()
        if settings.training.device == "cuda" and not on_gpu:
            asked = "budget.gpu_seconds" if context.study.budget.gpu_seconds is not None else "training.device cuda"
            raise SettingsError(f"{where}: {asked} needs a CUDA device, and torch finds none here")
        if settings.training.precision == "16-mixed" and not on_gpu:
            raise SettingsError(f"{where}: training.precision 16-mixed needs a GPU; set it to bf16-mixed")
        if isinstance(settings, LearnerSettings):
            check_learner(settings)
            try:
                _check_teacher(context, settings)
            except SettingsError as error:
                raise SettingsError(f"{where}: {error}") from error
            continue
        networks = networks_of(context.outputs, settings.experiment, _config(context.study))
        foreign = [name for name in settings.learners if name not in networks]
        if settings.mode != "frozen" and foreign:
            raise SettingsError(f"{where}: {', '.join(foreign)} came as depth maps and cannot be trained; leave it out")
        try:
            build_stack(unloaded(settings))
        except (ValueError, RuntimeError) as error:
            raise SettingsError(f"{where}: the meta-learner cannot be built: {error}") from error


def _check_teacher(context: WorkerContext, settings: LearnerSettings) -> None:
    """Refuse a teacher that there is not, or that cannot do what a student wants; learners may not be trained yet."""
    outputs, wanted, options = context.outputs, settings.distillation, _config(context.study)
    if wanted.teacher is None:
        return
    check_student(settings)
    found = asked_teacher(wanted.teacher, outputs, settings.experiment, options)
    if not isinstance(found, tuple):
        open_teacher(settings, outputs)
        return
    learners: dict[str, LearnerSettings | None] = {}
    for name in found:
        learner, choice = member_of(name).learner, Choice(root=context.root, config=context.study.config)
        check_another(settings, [learner])
        run = outputs.learner_run(settings.experiment, learner)
        own = learner_settings_of(run) if run.settings.is_file() else learner_settings(learner, choice)
        learners[name] = own if isinstance(own, LearnerSettings) else None
    check_lesson(settings, learners)
    if wanted.unlabelled:
        fitted_among(find_unlabelled(wanted.unlabelled), open_source(settings.data), settings.data)


def check_learners(context: WorkerContext) -> None:
    """Refuse a study, before anything is written, whose arms rest on learners that nobody trains.

    Raises:
        SettingsError: Learners are missing, and the study does not say how to train them; the message does. Or one that
            it would train has a teacher.
    """
    study, outputs = context.study, context.outputs
    planned = [each for prepared in study.prepare for each in _to_train(context, prepared)]
    for model, own in planned:
        if own.distillation.teacher is not None:
            raise SettingsError(
                f"{study.name}: {own.learner}/{model} is to be trained before the trials, but has a teacher of its "
                f"own, {own.distillation.teacher}; set prepare.learners.{own.learner}.distillation.teacher to null"
            )
    there = {Needed(settings.experiment, settings.learner, model) for model, settings in planned}
    missing = [
        needed
        for arm in arms_of(study)
        for needed in _needed(context, arm)
        if needed not in there and not needed.run(outputs).result.is_file()
    ]
    if missing:
        commands = dict.fromkeys(_command(study, needed, outputs) for needed in missing)
        raise SettingsError(
            f"{study.name}: {len(commands)} models of learners are not trained "
            f"(first: {missing[0].learner}/{missing[0].model} of {missing[0].experiment}).\n"
            + "\n".join(f"Run: {command}" for command in commands)
        )


def prepare(context: WorkerContext) -> None:
    """Train learners that the study says how to train, and cache the rows that its arms read.

    Raises:
        SettingsError: Batches are larger than what there is to train on.
    """
    study, outputs = context.study, context.outputs
    for prepared in study.prepare:
        for model, settings in _to_train(context, prepared):
            train_learner(settings, outputs, model)
    for arm in arms_of(study):
        settings = study_settings(context, arm, lowest_numbers(study, arm))
        frames = open_experiment(outputs, settings).division.frames.fit
        if settings.training.batch_size > len(frames):
            raise SettingsError(
                f"{study.name}, arm {arm.name}: training.batch_size is {settings.training.batch_size}, but there are "
                f"{len(frames)} training frames"
            )
        if isinstance(settings, LearnerSettings):
            _waiting(partial(_ask_teacher, settings, outputs))
        elif settings.mode == "frozen":
            _cache(settings, outputs)


def _model(settings: LearnerSettings) -> str:
    return FULL if settings.fold is None else fold_model(settings.fold)


def _cache(settings: StackSettings, outputs: Outputs) -> None:
    """Fill the rows of a frozen arm."""
    learners = level_zero_of(settings, outputs)
    roles: tuple[Role, ...] = (settings.rows, "validation")
    for role in roles:
        _waiting(partial(cache_level_zero, learners, outputs, role, workers=settings.data.workers))


def _ask_teacher(settings: LearnerSettings, outputs: Outputs) -> None:
    """Fill the rows of a student's teacher, if it has one."""
    teacher = open_teacher(settings, outputs)
    if teacher is not None:
        teacher.fill()


def _waiting(fill: Callable[[], object]) -> None:
    """Fill rows; where another machine is at it, wait for it."""
    while True:
        try:
            fill()
            return
        except LockedError as error:
            messages.print(str(error))
            time.sleep(5)


def _needed(context: WorkerContext, arm: Arm) -> Iterator[Needed]:
    """The models that an arm rests on."""
    study, outputs = context.study, context.outputs
    settings = settings_of(study, arm, lowest_numbers(study, arm), outputs, root=context.root)
    if isinstance(settings, LearnerSettings):
        yield from _teachers(settings, outputs, _config(study))
        return
    if settings.mode == "joint":
        return
    folds = settings.mode == "frozen" and (settings.rows == "oof" or settings.level0 == "folds")
    for name in settings.learners:
        learner, seed = member_of(name)
        yield Needed(settings.experiment, learner, FULL if seed is None else seed_model(seed))
        for fold in range(settings.data.folds if folds else 0):
            yield Needed(settings.experiment, learner, fold_model(fold, seed))


def _teachers(settings: LearnerSettings, outputs: Outputs, options: Sequence[str]) -> Iterator[Needed]:
    """The models of learners that teach; a stack that does is looked for when it is asked."""
    wanted = settings.distillation
    for name in (wanted.teacher or "").split(","):
        learner, seed = member_of(name.strip())
        if learner in networks_of(outputs, settings.experiment, options):
            yield Needed(settings.experiment, learner, FULL if seed is None else seed_model(seed))
            for fold in range(settings.data.folds if wanted.rows == "oof" else 0):
                yield Needed(settings.experiment, learner, fold_model(fold, seed))


def _command(study: StudySettings, needed: Needed, outputs: Outputs) -> str:
    return training_command(outputs, needed.experiment, needed.learner, needed.model, options=_config(study))


def _config(study: StudySettings) -> tuple[str, ...]:
    """The option that names the experiment file of its learners."""
    return () if study.config is None else ("--config", str(study.config))


def _to_train(context: WorkerContext, prepared: PreparedSettings) -> list[tuple[str, LearnerSettings]]:
    """Name and settings of every model that a section ``prepare`` stands for and that is not trained yet."""
    study, outputs = context.study, context.outputs
    found: list[tuple[str, LearnerSettings]] = []
    for needed in dict.fromkeys(each for arm in arms_of(study) for each in _needed(context, arm)):
        given = {**prepared.set, **flat(prepared.learners.get(needed.learner, {}))}
        if prepared.experiment is not None:
            given["experiment"] = prepared.experiment
        choice = Choice(root=context.root, config=study.config, assignments=assignments_of(given))
        settings = learner_settings(needed.learner, choice)
        if settings.experiment == needed.experiment and not needed.run(outputs).result.is_file():
            seed, fold = parts_of(needed.model)
            own = {"fold": fold, "seed": settings.seed if seed is None else seed}
            found.append((needed.model, settings.model_copy(update=own)))
    return found
