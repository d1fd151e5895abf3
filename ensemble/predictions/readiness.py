"""What a learner lacks for a fit of the meta-learner: models of a network, roles of an import; read from files."""

from collections.abc import Iterable

from ensemble.data.folds import read_folds
from ensemble.predictions.available import is_import
from ensemble.predictions.foreign.record import ImportedRole, read_roles
from ensemble.runs.paths import FULL, Outputs, Run, fold_model


def lacking(where: Outputs, experiment: str, learner: str, rows: str) -> list[str]:
    """What is missing, in words; nothing where a stack can weigh the learner.

    Args:
        where: Folder of all stages.
        experiment: Of the learner.
        learner: A network of ours, or an imported one.
        rows: ``oof`` or ``fit``, that the meta-learner is fitted to.
    """
    path = where.folds(experiment)
    if rows == "oof" and not path.is_file():
        return ["folds"]
    folds = [fold_model(fold) for fold in range(read_folds(path).count)] if rows == "oof" else []
    if not is_import(where, experiment, learner):
        return [model for model in (FULL, *folds) if not where.learner_run(experiment, learner, model).result.is_file()]
    full = _roles(where.learner_run(experiment, learner))
    missing = [f"rows of {role}" for role in ("validation", *(["fit"] if rows == "fit" else [])) if role not in full]
    left_out = [_roles(where.learner_run(experiment, learner, model)) for model in folds]
    missing += ["rows of oof"] if any("oof" not in roles for roles in left_out) else []
    return [*missing, *(["maps without a doubt"] if _doubted([full, *left_out]) else [])]


def _roles(run: Run) -> dict[str, ImportedRole]:
    return read_roles(run) if run.result.is_file() else {}


def _doubted(models: Iterable[dict[str, ImportedRole]]) -> bool:
    return any(entry.doubted for roles in models for entry in roles.values())
