"""Whom a person means as a teacher, found without torch: who mistypes it waits for no library."""

from pathlib import Path

from ensemble.deploy.named import is_saved
from ensemble.predictions.available import learners_of
from ensemble.pretrained import pretrained
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.members import member_of
from ensemble.settings.names import FITS
from ensemble.settings.places import at_home
from ensemble.settings.trees import SettingsError


def asked_teacher(asked: str, outputs: Outputs, experiment: str) -> Path | tuple[str, ...] | Run:
    """Something that was saved or comes with the package, learners by their names, or a run.

    That is one of ``experiment`` where there is one of its name.

    Raises:
        SettingsError: There is nobody of this name; the message may hold the command that fits a stack.
    """
    place = pretrained(at_home(Path(asked)))
    if is_saved(place):
        return place
    if "," in asked or member_of(asked).learner in learners_of(outputs, experiment):
        return tuple(name.strip() for name in asked.split(","))
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
