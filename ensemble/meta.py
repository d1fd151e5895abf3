"""``python -m ensemble.meta``: fit the meta-learner, score it, and predict with the whole stack."""

from pathlib import Path
from typing import Annotated

import typer

from ensemble import options
from ensemble.config_files import SettingsError, check_name, known_learners, stack_settings
from ensemble.console import messages, results
from ensemble.runs import outputs, stack_name

app = options.application("The meta-learner: per-pixel weights over the base learners.")

DEFAULT_LEARNERS = ("adabins", "bts", "ldrn")


@app.command()
def fit(
    inputs: Annotated[str, typer.Option(help="What the meta-learner sees: rgb, d or rgb+d.")],
    learners: Annotated[str, typer.Option(help="Whose predictions are weighed.")] = ",".join(DEFAULT_LEARNERS),
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    experiment: options.Experiment = None,
    name: Annotated[str | None, typer.Option(help="Name of the run. Default: meta-INPUTS.")] = None,
    fresh: options.Fresh = False,
    wandb: options.Wandb = False,
    cache_dir: options.CacheDir = None,
) -> None:
    """Fit the meta-learner to cached predictions, or go on where its run stopped."""
    chosen = tuple(learner.strip() for learner in learners.split(","))
    for learner in chosen:
        check_name(learner, known_learners(), "learner")
    assigned = options.with_experiment(assignments, experiment)
    files = {"kind": data, "root": root, "config": config, "assignments": assigned}
    asked = stack_settings(inputs, learners=chosen, **files)  # mistakes are answered before anything is loaded

    from ensemble.networks import common_data, trained_learner
    from ensemble.stages import fit_meta

    where = outputs(cache_dir)
    trained = [trained_learner(where, asked.experiment, learner) for learner in asked.learners]
    inherited = common_data(trained).model_dump(mode="json")
    files["kind"] = data or inherited["kind"]
    assigned.append(f"experiment={asked.experiment}")
    settings = stack_settings(inputs, learners=chosen, inherited=inherited, **files)
    run = where.meta_run(settings.experiment, name or stack_name(inputs, settings.learners, DEFAULT_LEARNERS))
    finished = fit_meta(settings, run, where, fresh=fresh, wandb=wandb)
    messages.print(f"best weights: {finished.best}")


@app.command()
def evaluate(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="One or more fits to the same learners.")],
    published: options.Published = False,
    cache_dir: options.CacheDir = None,
    json: options.Json = False,
) -> None:
    """Score stacks on the test frames beside their learners, the fixed combiners and the bounds."""
    where = outputs(cache_dir)
    found = [where.find_run(run) for run in runs]

    from ensemble.evaluation import evaluate_stacks, load_stack
    from ensemble.report import score_table, scores_json

    stacks = [load_stack(run, where) for run in found]
    folder = found[0].folder if len(found) == 1 else where.report(stacks[0].settings.experiment)
    scores = evaluate_stacks(stacks, where, folder)
    if json:
        results.print_json(scores_json(scores))
    else:
        results.print(score_table(scores, published=published))
        messages.print(f"scores, scores per image and pictures: {folder}")


@app.command()
def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A fit of the meta-learner.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="RGB photographs of any size.")],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    cache_dir: options.CacheDir = None,
) -> None:
    """Depth of photographs: 16-bit PNG in millimetres, .npy in metres, a coloured picture and the weight maps."""
    where = outputs(cache_dir)
    found = where.find_run(run)
    for image in images:
        if not image.is_file():
            raise SettingsError(f"{image}: there is no such file")

    from ensemble.evaluation import load_stack, predict_images

    written = predict_images(load_stack(found, where), images, out)
    messages.print(f"{len(images)} images, {len(written)} files in {out}")


if __name__ == "__main__":
    options.run(app)
