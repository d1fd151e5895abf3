"""Which evaluation a person means; nothing heavy is imported before it is known that there is one."""

from pathlib import Path

from ensemble.runs.paths import Outputs, Run
from ensemble.settings.trees import SettingsError


def find_evaluation(where: Outputs, name: str) -> Run:
    """The folder with scores that a person means: a folder, a report of an experiment, or a run.

    Raises:
        SettingsError: There is none of that name, or it was not evaluated.
    """
    for folder in (Path(name), where.report(name)):
        if Run(folder).scores.is_file():
            return Run(folder)
    run = where.find_run(name, beside=where.reports())
    if not run.scores.is_file():
        beside = run.folder.parent.name
        if beside in where.reports():
            raise SettingsError(
                f"{run.folder}: not evaluated by itself, but perhaps with others of its experiment.\n"
                f"Run: {where.command('report', beside)}"
            )
        raise SettingsError(
            f"{run.folder}: not evaluated yet, there is no {run.scores.name}. Run: "
            f"{where.command('meta', 'evaluate', name)} (a learner: {where.command('base', 'evaluate', 'LEARNER')})"
        )
    return run
