"""What no teacher can do for a student: told from settings alone, before teachers are looked for, trained or asked."""

from collections.abc import Collection, Mapping

from ensemble.data.unlabelled import check_dealt, photographs_each_step
from ensemble.runs.claims import PROCESSES
from ensemble.settings.schema import LearnerSettings
from ensemble.settings.trees import SettingsError, check_name

WEIGHTS = ("teacher_elsewhere", "teacher_depth", "gradient_matching", "affinity")
"""Of the terms that a teacher adds to the loss of its student."""

NetworksByName = Mapping[str, LearnerSettings | None]
"""Settings of the networks of a teacher's learners, by name and in their order; ``None`` of one that was imported."""


def check_student(settings: LearnerSettings) -> None:
    """Refuse settings under which nobody can teach a learner, whoever it is; one that learns alone passes.

    Raises:
        SettingsError: It is the model of a fold, nothing of the teacher counts, or photographs do not go into a step.
    """
    wanted, training = settings.distillation, settings.training
    if wanted.teacher is None:
        return
    if settings.fold is not None:
        raise SettingsError(
            f"{settings.learner}: the model of a fold, here {settings.fold}, would learn from a teacher that saw its "
            "scenes; distil the full fit alone (leave --fold and --folds out), or leave distillation.teacher out"
        )
    if not any(getattr(wanted, name) for name in WEIGHTS):
        raise SettingsError(
            f"{settings.learner}: {', '.join(WEIGHTS)} of distillation are all 0, so that nothing would be learnt from "
            f"{wanted.teacher}; give one of them a weight, or leave the teacher out"
        )
    if wanted.unlabelled:
        each_step = photographs_each_step(settings)
        check_dealt(each_step, training.batch_size, accumulate=training.accumulate, processes=PROCESSES)


def check_another(settings: LearnerSettings, learners: Collection[str]) -> None:
    """Refuse a student among the learners of its experiment that are to teach it.

    Raises:
        SettingsError: It is one of them.
    """
    if settings.learner in learners:
        raise SettingsError(
            f"--teacher {settings.distillation.teacher}: {settings.learner} cannot teach itself; give the student "
            "another --experiment, or a name of its own in an experiment file"
        )


def check_lesson(settings: LearnerSettings, learners: NetworksByName) -> None:
    """Refuse a student, as above, that also wants what none of its teacher's networks can do.

    Raises:
        SettingsError: It wants to be like a learner that the teacher does not have or that has no maps of a decoder,
            or depth of photographs from one that has no network.
    """
    from base_learners import LEARNERS  # imports torch

    check_student(settings)
    wanted = settings.distillation
    if wanted.unlabelled:
        check_networks(learners)
    chosen = wanted.affinity_of or next(iter(learners))
    check_name(chosen, learners, "affinity_of")
    if not wanted.affinity:
        return
    own = learners[chosen]
    if own is None:
        raise SettingsError(
            f"distillation.affinity: {chosen} was imported as depth maps and has no network whose maps could be "
            "compared; set distillation.affinity_of to another learner, or distillation.affinity to 0"
        )
    if not LEARNERS[own.architecture].hands_out_maps:
        raise SettingsError(
            f"distillation.affinity: {chosen} is a {LEARNERS[own.architecture].title}, which hands out no maps of its "
            "decoder that could be compared; set distillation.affinity_of to another learner, or distillation.affinity "
            "to 0"
        )
    if not LEARNERS[settings.architecture].hands_out_maps:
        raise SettingsError(
            f"distillation.affinity: the student {settings.learner} is a {LEARNERS[settings.architecture].title}, "
            "which hands out no maps of its decoder that could be compared; set distillation.affinity to 0"
        )


def check_networks(learners: NetworksByName) -> None:
    """Refuse photographs of which a teacher cannot say depth.

    Raises:
        SettingsError: One of its learners was imported.
    """
    if imported := [name for name, own in learners.items() if own is None]:
        raise SettingsError(
            f"--unlabelled: {', '.join(imported)} came as depth maps and has no network that could say depth of "
            "photographs; leave --unlabelled out, or choose a teacher without it"
        )
