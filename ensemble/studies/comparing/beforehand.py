"""What was trained before an arm could begin: the learners below a stack, the teacher of a student, and theirs."""

from collections.abc import Iterable

from ensemble.distillation.teachers import find_expert
from ensemble.predictions.level_zero import LevelZero, level_zero_of
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.schema import LearnerSettings, StackSettings


def seconds_beforehand(settings: LearnerSettings | StackSettings, outputs: Outputs) -> float | None:
    """Training time of every model that a fit rests on, each counted once.

    ``None`` where that is not known: of a teacher that came as a file or is not there any more, of depth maps from
    elsewhere.
    """
    seconds = [None if run is None else run.read_result().get("seconds") for run in _runs_below(settings, outputs)]
    return None if None in seconds else sum(filter(None, seconds), start=0.0)


def _runs_below(settings: LearnerSettings | StackSettings, outputs: Outputs) -> set[Run | None]:
    """Finished runs; ``None`` stands for what has none."""
    if isinstance(settings, LearnerSettings):
        return _runs_of_teacher(settings, outputs)
    if settings.mode == "joint":
        return set()
    return _runs_of(level_zero_of(settings, outputs), outputs)


def _runs_of(learners: Iterable[LevelZero], outputs: Outputs) -> set[Run | None]:
    found: set[Run | None] = set()
    for model in (model for learner in learners for model in learner.models):
        found |= {None} if model.is_import else {model.run, *_runs_below(model.network_settings, outputs)}
    return found


def _runs_of_teacher(settings: LearnerSettings, outputs: Outputs) -> set[Run | None]:
    wanted = settings.distillation
    if wanted.teacher is None:
        return set()
    root = settings.data.root
    try:
        expert = find_expert(wanted.teacher, outputs, experiment=settings.experiment, rows=wanted.rows, root=root)
    except ValueError:  # it was there when it taught
        return {None}
    if expert.run is not None and isinstance(expert.settings, StackSettings):
        return {expert.run, *_runs_below(expert.settings, outputs)}
    return _runs_of(expert.members, outputs) or {None}
