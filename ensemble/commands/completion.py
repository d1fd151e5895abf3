"""Names that a shell completes: learners, runs, experiments, packaged configurations, studies; reads folders alone."""

from pathlib import Path

import typer

from ensemble.runs.paths import FULL, Outputs, Run, outputs, parts_of
from ensemble.settings.layers import Choice, named_learners
from ensemble.settings.names import known_learners
from ensemble.settings.packaged import EXPERIMENTS, STUDIES, config_file, packaged
from ensemble.settings.trees import SettingsError


def configs() -> list[str]:
    """Packaged experiments; a shell adds files where none begins so."""
    return list(packaged(EXPERIMENTS))


def learners(ctx: typer.Context, incomplete: str) -> list[str]:
    """Learners of ours, those that a named experiment file adds, and imported ones, also behind a comma."""
    before, comma, _ = incomplete.rpartition(",")
    imported = (folder.parent.name for folder in _folders(ctx, f"runs/*/*/{FULL}"))
    return [f"{before}{comma}{name}" for name in dict.fromkeys((*_named(ctx), *imported))]


def _named(ctx: typer.Context) -> tuple[str, ...]:
    try:
        return named_learners(Choice(config=config_file(ctx.params.get("config"))))
    except SettingsError:
        return known_learners()


def runs(ctx: typer.Context) -> list[str]:
    """Runs by their whole and, where it is unique, their own name; of models of folds those that are networks."""
    where = _where(ctx)
    if where is None:
        return []
    whole = [name for name, run in where.runs().items() if _fold_of(name) is None or run.best.is_file()]
    return [*whole, *(name for name in where.short_names() if _fold_of(name) is None)]


def stacks(ctx: typer.Context) -> list[str]:
    """Fits of the meta-learner by their whole and, where it is unique, their own name."""
    where = _where(ctx)
    if where is None:
        return []
    whole = [name for name, run in where.runs().items() if name.count("/") == 1 and run.folder.name != FULL]
    short = {*where.short_names()}
    return [*whole, *(own for name in whole if (own := name.rpartition("/")[2]) in short)]


def trained(ctx: typer.Context) -> list[str]:
    """Learners that have a network which was fitted to all scenes."""
    folders = _folders(ctx, f"runs/*/*/{FULL}")
    return list(dict.fromkeys(folder.parent.name for folder in folders if Run(folder).best.is_file()))


def _fold_of(name: str) -> int | None:
    return parts_of(name.rpartition("/")[2]).fold


def evaluations(ctx: typer.Context) -> list[str]:
    """Runs, and experiments that have a report."""
    return [*runs(ctx), *(where.reports() if (where := _where(ctx)) else ())]


def experiments(ctx: typer.Context) -> list[str]:
    """Experiments that have runs or predictions."""
    return sorted({folder.name for kind in ("runs", "predictions") for folder in _folders(ctx, f"{kind}/*")})


def studies(ctx: typer.Context) -> list[str]:
    """Studies that were started."""
    return [folder.name for folder in _folders(ctx, "studies/*")]


def ready_studies() -> list[str]:
    """Packaged studies; a shell adds files where none begins so."""
    return list(packaged(STUDIES))


def _where(ctx: typer.Context) -> Outputs | None:
    try:
        return outputs(ctx.params.get("cache_dir"))
    except SettingsError:
        return None


def _folders(ctx: typer.Context, pattern: str) -> list[Path]:
    where = _where(ctx)
    return [] if where is None else sorted(path for path in where.root.glob(pattern) if path.is_dir())
