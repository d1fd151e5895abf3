"""Which learners an experiment has, networks of ours and imported ones; read without importing a network."""

from ensemble.runs.paths import FULL, Outputs, Run
from ensemble.runs.records import stored_settings
from ensemble.runs.refusals import refuse_unreadable
from ensemble.settings.names import known_learners
from ensemble.settings.schema import ImportSettings, LearnerSettings


def is_import(outputs: Outputs, experiment: str, name: str) -> bool:
    """Whether the record of an imported learner goes by this name."""
    path = outputs.learner_run(experiment, name).settings
    try:
        stored_settings(ImportSettings, path)
    except ValueError as error:
        refuse_unreadable(path, error)
        return False
    return True


def learners_of(outputs: Outputs, experiment: str) -> tuple[str, ...]:
    """Every name that ``--learners`` may hold: networks of ours, and what was imported into this experiment."""
    folder = outputs.learner_run(experiment, "any").folder.parent.parent
    names = sorted(path.parent.parent.name for path in folder.glob(f"*/{FULL}/settings.json"))
    imported = (name for name in names if name not in known_learners() and is_import(outputs, experiment, name))
    return (*known_learners(), *imported)


def settings_beside(outputs: Outputs, experiment: str) -> LearnerSettings | ImportSettings | None:
    """The settings of any learner that the experiment has; all agree in their data. Absent where it has none."""
    for name in learners_of(outputs, experiment):
        run = outputs.learner_run(experiment, name)
        if run.settings.is_file():
            return learner_settings_of(run)
    return None


def learner_settings_of(run: Run) -> LearnerSettings | ImportSettings:
    """The settings of one model of a learner, whether a network of ours or imported."""
    kind = LearnerSettings if run.folder.parent.name in known_learners() else ImportSettings
    return stored_settings(kind, run.settings)
