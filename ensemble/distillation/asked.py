"""Whom a person means as a teacher, found without torch: who mistypes it waits for no library."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ensemble.deploy.named import is_saved
from ensemble.predictions.available import learners_of, networks_of
from ensemble.pretrained import pretrained
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.members import check_member, member_of
from ensemble.settings.names import FITS
from ensemble.settings.places import at_home
from ensemble.settings.schema import LearnerSettings
from ensemble.settings.trees import SettingsError


def asked_teacher(
    asked: str, outputs: Outputs, experiment: str, options: Sequence[str] = ()
) -> Path | tuple[str, ...] | Run:
    """Something that was saved or comes with the package, learners by their names, or a run.

    That is one of ``experiment`` where there is one of its name. An experiment file among the ``options`` of a command
    line names further learners, which may not be trained yet.

    Raises:
        SettingsError: There is nobody of this name; the message may hold the command that fits a stack.
    """
    place = pretrained(at_home(Path(asked)))
    if is_saved(place):
        return place
    known = learners_of(outputs, experiment, options)
    if "," in asked or member_of(asked).learner in known:
        names = tuple(name.strip() for name in asked.split(","))
        for name in names:
            check_member(name, known, networks_of(outputs, experiment, options))
        return names
    own = outputs.meta_run(experiment, asked)
    if "/" not in asked and own.settings.is_file():
        return own
    try:
        return outputs.find_run(asked)
    except SettingsError as error:
        if not asked.rpartition("/")[2].startswith(FITS):
            raise SettingsError(f"--teacher {asked}: {error}") from error
        fit = outputs.command("meta", "fit", "--inputs", "rgb+d", "--experiment", experiment)
        raise SettingsError(f"--teacher {asked}: {error}\nRun: {fit}") from error


def placed(settings: LearnerSettings) -> LearnerSettings:
    """The same with whole paths of a teacher that was saved and of photographs: a run goes on from any folder."""
    wanted = settings.distillation
    changes: dict[str, Any] = {"unlabelled": tuple(folder.absolute() for folder in wanted.unlabelled)}
    if wanted.teacher is not None and is_saved(place := at_home(Path(wanted.teacher))):
        changes["teacher"] = str(place.absolute())
    return settings.model_copy(update={"distillation": wanted.model_copy(update=changes)})
