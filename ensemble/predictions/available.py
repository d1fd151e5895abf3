"""Which learners an experiment has, networks of ours and imported ones; read without importing a network."""

from collections.abc import Sequence
from pathlib import Path

from ensemble.runs.paths import FULL, Outputs, Run
from ensemble.runs.records import stored_settings
from ensemble.runs.refusals import refuse_unreadable
from ensemble.settings.layers import Choice, learners_to_stack, named_learners
from ensemble.settings.names import known_learners, stacked_learners, unless_named_only
from ensemble.settings.packaged import config_file
from ensemble.settings.schema import ImportSettings, LearnerSettings
from ensemble.settings.trees import SettingsError


def is_import(outputs: Outputs, experiment: str, name: str) -> bool:
    """Whether the record of an imported learner goes by this name."""
    path = outputs.learner_run(experiment, name).settings
    try:
        stored_settings(ImportSettings, path)
    except ValueError as error:
        refuse_unreadable(path, error)
        return False
    return True


def networks_of(outputs: Outputs, experiment: str, options: Sequence[str] = ()) -> tuple[str, ...]:
    """Learners of ours: those of ``configs/base``, and those of an experiment's own that it says how to train.

    The latter have runs, or are named by the experiment file among the ``options`` of a command line.
    """
    words = list(options)
    file = config_file(Path(words[words.index("--config") + 1])) if "--config" in words else None
    folder = outputs.learner_run(experiment, "any").folder.parent.parent
    named = named_learners(Choice(config=file))
    others = [path for path in folder.glob("*/*/") if path.parent.name not in named]
    return (*named, *sorted({path.parent.name for path in others if _is_trained(Run(path))}))


def learners_of(outputs: Outputs, experiment: str, options: Sequence[str] = ()) -> tuple[str, ...]:
    """Every name that ``--learners`` may hold: networks of ours, and what was imported into this experiment."""
    folder = outputs.learner_run(experiment, "any").folder.parent.parent
    networks = networks_of(outputs, experiment, options)
    names = sorted(path.parent.parent.name for path in folder.glob(f"*/{FULL}/settings.json"))
    imported = (name for name in names if name not in networks and is_import(outputs, experiment, name))
    return (*networks, *imported)


def learners_beside(outputs: Outputs, experiment: str, choice: Choice) -> tuple[str, ...]:
    """What a stack weighs where nobody names its learners: those that the choice tells, else those of the experiment.

    Learners that stacks weigh only where they are named stay out; an experiment that has none of them, or some of those
    that come with the package, is about these.
    """
    told = learners_to_stack(choice)
    there = [
        name for name in learners_of(outputs, experiment) if outputs.learner_run(experiment, name).settings.is_file()
    ]
    if told != stacked_learners() or {*told} & {*there}:
        return told
    return unless_named_only(there) or told


def check_unused(outputs: Outputs, experiment: str, name: str) -> None:
    """Refuse to train a learner under the name of depth maps that were imported, or of a fit of the meta-learner.

    Raises:
        SettingsError: There are such in the experiment.
    """
    if outputs.meta_run(experiment, name).settings.is_file():
        raise SettingsError(
            f"{name!r}: a fit of the meta-learner goes by this name in {experiment}; choose another one"
        )
    if is_import(outputs, experiment, name):
        raise SettingsError(f"{name!r}: depth maps were imported into {experiment} by this name; choose another one")


def _is_trained(run: Run) -> bool:
    """Whether a folder is a model of a network: it has its weights or settings; what is unreadable tells nothing."""
    if run.best.is_file() or run.last.is_file():
        return True
    try:
        stored_settings(LearnerSettings, run.settings)
    except ValueError:
        return False
    return True


def settings_beside(outputs: Outputs, experiment: str) -> LearnerSettings | ImportSettings | None:
    """The settings of any learner that the experiment has; all agree in their data. Absent where it has none."""
    for name in learners_of(outputs, experiment):
        run = outputs.learner_run(experiment, name)
        if run.settings.is_file():
            return learner_settings_of(run)
    return None


def learner_settings_of(run: Run) -> LearnerSettings | ImportSettings:
    """The settings of one model of a learner, whether a network of ours or imported."""
    if run.folder.parent.name in known_learners():
        return stored_settings(LearnerSettings, run.settings)
    try:
        return stored_settings(LearnerSettings, run.settings)  # a learner of the experiment's own
    except ValueError as error:
        refuse_unreadable(run.settings, error)
        return stored_settings(ImportSettings, run.settings)
