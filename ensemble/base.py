"""``python -m ensemble.base``: train, cache, score and measure the base learners."""

from typing import Annotated, Literal

import typer

from ensemble import options
from ensemble.config import LearnerSettings
from ensemble.config_files import experiment_name, known_learners, learner_settings, moved, stored_settings
from ensemble.console import messages, results
from ensemble.runs import Outputs, outputs
from ensemble.setting_trees import SettingsError, check_name

app = options.application("Base learners: adabins, bts, ldrn.")

ROLES: dict[str, Literal["fit", "validation", "test"]] = {"fit": "fit", "validation": "validation", "test": "test"}

Learner = Annotated[str, typer.Argument(help="adabins, bts or ldrn.", metavar="LEARNER")]
Learners = Annotated[list[str], typer.Argument(help="One or more learners; every image is read once.")]


@app.command()
def train(
    learner: Learner,
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    experiment: options.Experiment = None,
    resume: options.Resume = None,
    fresh: options.Fresh = False,
    wandb: options.Wandb = False,
    cache_dir: options.CacheDir = None,
) -> None:
    """Train a learner, or go on where its run stopped."""
    where = outputs(cache_dir)
    if resume is None:
        assignments = options.with_experiment(assignments, experiment)
        settings = learner_settings(learner, kind=data, root=root, config=config, assignments=assignments)
    else:
        if assignments or config or data or experiment or fresh:
            raise SettingsError("--resume goes on with the run's own settings: leave out all options that choose them")
        check_name(learner, known_learners(), "learner")
        settings = moved(_settings_of(where, resume, learner), root)
    _say_data(settings)

    from ensemble.stages import train_learner

    finished = train_learner(settings, where, fresh=fresh, wandb=wandb)
    messages.print(f"best weights: {finished.best}")


@app.command("lr-range")
def lr_range(
    learner: Learner,
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    experiment: options.Experiment = None,
    steps: Annotated[int, typer.Option(min=10, help="Optimiser steps, from 1e-6 up to 1.")] = 100,
    cache_dir: options.CacheDir = None,
    json: options.Json = False,
) -> None:
    """Learning-rate range test: a curve as PNG and a suggestion."""
    assignments = options.with_experiment(assignments, experiment)
    settings = learner_settings(learner, kind=data, root=root, config=config, assignments=assignments)
    _say_data(settings)

    from ensemble.pictures import learning_rate_curve
    from ensemble.stages import range_test

    where = outputs(cache_dir)
    rates, losses, suggestion = range_test(settings, where, steps=steps)
    picture = where.learner_run(settings.experiment, learner).lr_range
    learning_rate_curve(picture, rates, losses, suggestion)
    if json:
        results.print_json(data={"learner": learner, "rates": rates, "losses": losses, "suggestion": suggestion})
    elif suggestion is None:
        results.print(f"{learner}: the loss never fell; look at {picture}", soft_wrap=True)
    else:
        results.print(
            f"{learner}: the loss falls fastest at {suggestion:.2e}: --set training.lr={suggestion:.2e}\n"
            f"curve: {picture}",
            soft_wrap=True,
        )


@app.command()
def cache(
    learners: Learners,
    role: Annotated[str, typer.Option(help="fit, validation or test.")],
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    experiment: options.Experiment = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw these learners' rows away first.")] = False,
    workers: Annotated[int | None, typer.Option(min=0, help="Loader processes. Default: as in training.")] = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Write the depth of every frame of a role to the cache; goes on where an earlier call stopped."""
    for learner in learners:
        check_name(learner, known_learners(), "learner")
    check_name(role, ROLES, "role")
    name = experiment_name(kind=data, root=root, config=config, assignments=options.with_experiment(None, experiment))

    from ensemble.evaluation import cache_test_predictions
    from ensemble.networks import trained_learner
    from ensemble.prediction import cache_predictions

    where = outputs(cache_dir)
    given = options.repeated(data, root, config)
    trained = [trained_learner(where, name, each, root=root, options=given) for each in dict.fromkeys(learners)]
    if workers is None:
        workers = trained[0].settings.data.workers
    if role == "test":
        cache_test_predictions(trained, where, rebuild=rebuild, workers=workers)
    else:
        cache_predictions(trained, where, ROLES[role], rebuild=rebuild, workers=workers)


@app.command()
def evaluate(
    learner: Learner,
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    experiment: options.Experiment = None,
    published: options.Published = False,
    cache_dir: options.CacheDir = None,
    json: options.Json = False,
) -> None:
    """Score a learner on the test frames."""
    check_name(learner, known_learners(), "learner")
    name = experiment_name(kind=data, root=root, config=config, assignments=options.with_experiment(None, experiment))

    from ensemble.evaluation import evaluate_learner
    from ensemble.networks import trained_learner
    from ensemble.report import score_table, scores_json

    where = outputs(cache_dir)
    trained = trained_learner(where, name, learner, root=root, options=options.repeated(data, root, config))
    scores = evaluate_learner(trained, where)
    if json:
        results.print_json(scores_json(scores))
    else:
        results.print(score_table(scores, published=published))
        messages.print(f"scores, and scores per image: {where.learner_run(name, learner).folder}")


@app.command()
def profile(
    learner: Annotated[str | None, typer.Argument(help="One learner; all of them where absent.")] = None,
    size: Annotated[str, typer.Option(metavar="HxW", help="Image size for the timing.")] = "480x640",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes; the median counts.")] = 5,
    config: options.Config = None,
    json: options.Json = False,
) -> None:
    """Parameters, multiply-adds and frames per second beside the published rows."""
    if learner is not None:
        check_name(learner, known_learners(), "learner")
    check_name(device, ("cpu", "cuda"), "device")
    pixels = options.parse_size(size)

    from ensemble.networks import profile_rows
    from ensemble.profiling import profile_json, profile_table

    rows = profile_rows(learner, pixels, device=device, repeats=repeats, config=config)
    if json:
        results.print_json(profile_json(rows))
    else:
        results.print(profile_table(rows))


def _settings_of(where: Outputs, name: str, learner: str) -> LearnerSettings:
    """The settings of a run that is to go on.

    Raises:
        SettingsError: It is the run of another learner, or of another folder for outputs.
    """
    run = where.find_run(name)
    settings = stored_settings(LearnerSettings, run.settings)
    if settings.learner != learner:
        raise SettingsError(f"--resume {name}: {run.folder} is a run of {settings.learner}, not of {learner}")
    if run.folder.resolve() != where.learner_run(settings.experiment, learner).folder.resolve():
        raise SettingsError(
            f"--resume {name}: {run.folder} is not below {where.root}; name its folder with --cache-dir"
        )
    return settings


def _say_data(settings: LearnerSettings) -> None:
    """Say what is trained on.

    Raises:
        SettingsError: It is a copy of NYU Depth v2 that is not there.
    """
    place = settings.data.root
    if settings.data.kind == "rooms":
        messages.print("data: generated rooms (name a copy of NYU Depth v2 with --root or NYU_ROOT to train on it)")
    elif place is None or not place.is_dir():
        found = f"found no folder {place}" if place else "found none"
        raise SettingsError(f"data.root: expected the folder of a copy in --root or NYU_ROOT, {found}")
    else:
        messages.print(f"data: NYU Depth v2 in {place}")


if __name__ == "__main__":
    options.run(app)
