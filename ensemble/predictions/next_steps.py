"""The command that follows a finished one on the way from learners to a report; told from which runs are complete."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ensemble.data.folds import read_folds
from ensemble.predictions.available import learners_of, networks_of
from ensemble.predictions.foreign.record import import_command, read_roles
from ensemble.predictions.readiness import lacking
from ensemble.predictions.training_commands import training_command
from ensemble.runs.paths import FULL, Outputs, Run, fold_model, parts_of
from ensemble.settings.names import unless_named_only
from ensemble.settings.schema import ImportSettings, LearnerSettings

ROLES = ("oof", "validation", "test")
"""In the order in which maps from elsewhere are imported."""


def after_training(
    where: Outputs,
    settings: LearnerSettings,
    models: Sequence[str],
    given: Sequence[str],
    assignments: Sequence[str] | None,
) -> str:
    """What follows the training of models of a learner.

    A full fit is scored. Models of folds are followed by what a stack still wants: the other folds, the other learners,
    then their depth.

    Args:
        where: Folder of all stages.
        settings: Of the learner.
        models: Those that were trained.
        given: Options that chose data and experiment.
        assignments: ``--set`` values, for further trainings; ``None`` where the settings are those of an earlier run.
    """
    learner = settings.learner
    if all(parts_of(model).fold is None for model in models):
        return where.command("base", "evaluate", learner, *given)
    seeds = dict.fromkeys(parts_of(model).seed for model in models)
    if [*seeds] != [None]:
        named = ",".join(str(settings.seed if seed is None else seed) for seed in seeds)
        return where.command("base", "cache", learner, "--role", "oof", "--seeds", named, *given)
    count = read_folds(where.folds(settings.experiment)).count
    folds = set(map(fold_model, range(count)))
    missing = sorted(folds - _complete_models(where, settings, learner))
    if len(models) == 1 and missing and assignments is not None:
        fold = ("--fold", missing[0].removeprefix("fold-"))
        return where.command("base", "train", learner, *fold, *given, *_words(assignments))
    networks = unless_named_only(networks_of(where, settings.experiment, given), but=learner)
    for other in networks if assignments is not None else ():
        if other != learner and not folds | {FULL} <= _complete_models(where, settings, other):
            shared = [
                each for each in assignments or () if not each.startswith(("network", "loss", "size", "data.folds"))
            ]
            return where.command("base", "train", other, "--folds", str(count), *given, *_words(shared))
    ready = [other for other in networks if FULL in _complete_models(where, settings, other)]
    return where.command("base", "cache", *(ready or [learner]), "--role", "oof", *given)


def after_caching(
    where: Outputs,
    experiment: str,
    learners: Sequence[str],
    role: str,
    given: Sequence[str],
    *,
    seeds: Sequence[int] = (),
) -> str:
    """What follows rows of a role: a stack of all learners that are ready for one, or the score of a single one.

    Out-of-fold rows of several ``seeds`` are candidates of a composition. Where there are too few learners for a stack
    a second line says what the others lack.
    """
    if role == "oof" and len(seeds) > 1:
        return where.command("meta", "compose", "--budget", "500ms", *given)
    wanted = "fit" if role == "fit" else "oof"
    lacks = {name: lacking(where, experiment, name, wanted) for name in learners_of(where, experiment, given)}
    ready = [name for name, missing in lacks.items() if not missing]
    if len(ready) < 2:
        first = learners[0]
        alone = where.command("base", "evaluate", first, *given)
        if FULL in lacks.get(first, ()):
            alone = training_command(where, experiment, first, FULL, options=given)
        return alone + _unready(where, experiment, lacks, ready)
    rows = ("--rows", "fit") if role == "fit" else ()
    return where.command("meta", "fit", "--inputs", "rgb+d", "--learners", ",".join(ready), *rows, *given)


def after_import(where: Outputs, settings: ImportSettings, folder: Path, *, align: bool, given: Sequence[str]) -> str:
    """What follows an import: the next role, then a stack; maps of test frames lie in a folder of their own."""
    runs = where.learner_run(settings.experiment, settings.learner).folder.parent.glob("*/result.json")
    done = {role for path in runs for role in read_roles(Run(path.parent))}
    for role in ROLES:
        if role not in done:
            place = None if role == "test" else folder
            return import_command(where, settings, role, folder=place, align=align, options=given)
    words = [*given, "--experiment", settings.experiment]
    return after_caching(where, settings.experiment, [settings.learner], "oof", words)


def _unready(where: Outputs, experiment: str, lacks: Mapping[str, Sequence[str]], ready: Sequence[str]) -> str:
    """A line that says what learners with runs lack for a stack."""
    folder = where.learner_run(experiment, "any").folder.parent.parent
    begun = {name: missing for name, missing in lacks.items() if missing and (folder / name).is_dir()}
    found = f"found {', '.join(ready) or 'none'}" + "".join(
        f"; {name} lacks {', '.join(missing)}" for name, missing in begun.items()
    )
    return f"\na stack wants two learners with all rows of training, {found}"


def _complete_models(where: Outputs, settings: LearnerSettings, learner: str) -> set[str]:
    folder = where.learner_run(settings.experiment, learner).folder.parent
    return {path.parent.name for path in folder.glob("*/result.json")}


def _words(assignments: Sequence[str]) -> list[str]:
    return [word for each in assignments for word in ("--set", each)]
