"""The command that trains a model of a learner: as its other models were, where there are any, whatever chose them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ensemble.runs.paths import FULL, Outputs, Run, model_options
from ensemble.runs.records import stored_settings
from ensemble.settings.schema import LearnerSettings


def training_command(
    outputs: Outputs,
    experiment: str,
    learner: str,
    *models: str,
    root: Path | None = None,
    options: Sequence[str] = (),
    anew: bool = False,
) -> str:
    """A command line that trains what is missing of a learner of ours, ready to be pasted into a shell.

    A run that was begun goes on. Where another model of the learner was begun, its settings are stored, and
    ``--resume`` takes all of them from there: data, encoder, network and every ``--set``. Only where there is none do
    ``options`` choose them.

    Args:
        outputs: Where the learner's runs are.
        experiment: Theirs.
        learner: One of ours.
        models: One model, or several of other seeds.
        root: Where the data are now, if that is known.
        options: Those of a command line that would train the learner as the others were.
        anew: Whether the model's own run, where there is one, is thrown away first.
    """
    begun = outputs.learner_run(experiment, learner, models[0])
    if len(models) == 1 and begun.settings.is_file() and not anew:
        return outputs.command("base", "train", learner, "--resume", str(begun.folder), *_moved(begun, root))
    wanted = _options_of(models)
    like = next((run for run in _alike(outputs, experiment, learner) if not (anew and run == begun)), None)
    if like is None:
        return outputs.command("base", "train", learner, *wanted, *options, "--experiment", experiment)
    wanted = wanted or ("--full",)
    return outputs.command("base", "train", learner, *wanted, "--resume", str(like.folder), *_moved(like, root))


def _options_of(models: Sequence[str]) -> tuple[str, ...]:
    if len(models) == 1:
        return model_options(models[0])
    return "--seeds", ",".join(model_options(model)[1] for model in models)


def _alike(outputs: Outputs, experiment: str, learner: str) -> Iterator[Run]:
    """Runs whose settings are those of every model: the full fit before folds; a further seed has one of its own."""
    folder = outputs.learner_run(experiment, learner).folder.parent
    for path in (folder / FULL, *sorted(folder.glob("fold-*"))):
        if Run(path).settings.is_file():
            yield Run(path)


def _moved(run: Run, root: Path | None) -> tuple[str, ...]:
    """The option that names the folder of the data, where it is another one than at the time of the run."""
    if root is None or root == stored_settings(LearnerSettings, run.settings).data.root:
        return ()
    return "--root", str(root)
