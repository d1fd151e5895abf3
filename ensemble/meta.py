"""``python -m ensemble.meta``: fit the meta-learner, score it, and predict with the whole stack."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ensemble import options
from ensemble.commands import completion
from ensemble.console import counted, messages, results
from ensemble.deploy.named import named
from ensemble.predictions.available import (
    learner_settings_of,
    learners_beside,
    learners_of,
    networks_of,
    settings_beside,
)
from ensemble.pretrained import PRETRAINED
from ensemble.runs.files import write_text
from ensemble.runs.launched import is_first
from ensemble.runs.paths import Outputs, Run, command_line, outputs, stack_name
from ensemble.runs.records import stored_settings
from ensemble.settings.budgets import cost_budget
from ensemble.settings.compositions import composed_file
from ensemble.settings.layers import (
    Choice,
    experiment_name,
    learner_settings,
    moved,
    stack_settings,
)
from ensemble.settings.members import check_member, member_of
from ensemble.settings.names import NAME, known_inputs, known_learners
from ensemble.settings.schema import StackSettings
from ensemble.settings.trees import SettingsError, assignments_of, check_name

app = options.application("The meta-learner: per-pixel weights over the base learners.")

Members = Annotated[
    str | None,
    typer.Option(
        metavar="LEARNER,...",
        autocompletion=completion.learners,
        help="Whose predictions are weighed; bts#1 is BTS from seed 1. Default: meta.learners of FILE, else those of "
        "the experiment.",
    ),
]


@app.command()
def fit(
    inputs: Annotated[
        str | None, typer.Option(metavar="|".join(known_inputs()), help="What the meta-learner sees: rgb, d or rgb+d.")
    ] = None,
    learners: Members = None,
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    experiment: options.Experiment = None,
    rows: Annotated[
        str | None,
        typer.Option(
            metavar="oof|fit", help="oof (out-of-fold, default) or fit (in-sample, as in the published study)."
        ),
    ] = None,
    level0: Annotated[
        str | None,
        typer.Option(
            metavar="full|folds", help="What predicts at test time: full (default) or folds (the mean of their models)."
        ),
    ] = None,
    training: Annotated[
        str | None,
        typer.Option(
            metavar="frozen|finetune|joint",
            help="frozen (default), finetune or joint: whether learners are trained with it.",
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="BUDGET", help="Length of the training, such as 500steps or 300seconds.")
    ] = None,
    seeds: options.Seeds = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the run. Default: meta-INPUTS.")] = None,
    resume: options.Resume = None,
    fresh: options.Fresh = False,
    wandb: options.Wandb = False,
    cache_dir: options.CacheDir = None,
) -> None:
    """Fit the meta-learner to cached predictions, or go on where its run stopped."""
    where = outputs(cache_dir)
    if resume is not None:
        choosing = (inputs, data, config, assignments, experiment, name, rows, level0, training, budget, seeds)
        if any(choosing):
            raise SettingsError("--resume goes on with the run's own settings: leave out all options that choose them")
        asked = [_stored(_fit_called(where, resume), root)]
    elif inputs is None:
        raise SettingsError(f"--inputs: expected {', '.join(known_inputs())}, found nothing")
    else:
        check_name(inputs, known_inputs(), "inputs")
        chosen = None if learners is None else options.listed(learners)
        named = {"rows": rows, "level0": level0, "mode": training}
        how = assignments_of({key: value for key, value in named.items() if value is not None})
        choice = options.choice(data, root, config, assignments, experiment).also(*how, *options.parse_budget(budget))
        asked = _repeated(where, _asked(where, inputs, chosen, choice, name), options.parse_seeds(seeds))

    from ensemble.evaluation.calibration import calibration_of
    from ensemble.predictions.cameras import keep_focal
    from ensemble.stacking.fit import fit_meta
    from ensemble.stacking.stack import load_stack

    for run, settings in asked:
        finished = fit_meta(settings, run, where, fresh=fresh, wandb=wandb)
        if is_first():  # what a prediction needs beside the weights, while the data are there
            calibration_of(load_stack(finished, where, root=settings.data.root), where)
        keep_focal(settings.data, finished)
        messages.print(f"{where.name_of(finished)}: best weights in {finished.best}")
    messages.print(f"next: {where.command('meta', 'evaluate', where.name_of(asked[0][0]), *options.root_words(root))}")


def _stored(run: Run, root: Path | None) -> tuple[Run, StackSettings]:
    return run, moved(stored_settings(StackSettings, run.settings), root)


def _fit_called(where: Outputs, name: str) -> Run:
    """The fit of the meta-learner that a person means; refused where there is none, or where it is a learner's run."""
    run = where.find_run(name)
    try:
        found = learner_settings_of(run)
    except ValueError:
        return run
    experiment, score = found.experiment, ("base", "evaluate", found.learner, "--experiment", found.experiment)
    fits = sorted(path.parent.name for path in where.meta_run(experiment, "any").folder.parent.glob("*/settings.json"))
    raise SettingsError(
        f"{name!r}: expected a fit of the meta-learner, found a run of the learner {found.learner} in {run.folder}; "
        f"fits in {experiment}: {', '.join(fits) or 'none'}. To score the learner alone\nRun: {where.command(*score)}"
    )


def _asked(
    where: Outputs, inputs: str, named: tuple[str, ...] | None, choice: Choice, name: str | None
) -> tuple[Run, StackSettings]:
    """The run that options name, and its settings; frames are those of the learners' runs."""
    experiment = experiment_name(choice)
    known = learners_of(where, experiment, choice.words)
    networks = networks_of(where, experiment, choice.words)
    learners = named or learners_beside(where, experiment, choice)
    for learner in learners:
        check_member(learner, known, networks)
    if name is not None and (not re.fullmatch(NAME, name) or name in known):
        raise SettingsError(f"--name {name!r}: expected letters, digits and . _ + -, and not the name of a learner")
    first = where.learner_run(experiment, member_of(learners[0]).learner)
    inherited = None
    if first.settings.is_file():
        own = learner_settings_of(first)
        if choice.kind not in (None, own.data.kind):
            raise SettingsError(
                f"--data {choice.kind}: the learners of {experiment} were trained on {own.data.kind}; leave it out"
            )
        choice = replace(choice, kind=own.data.kind)
        inherited = own.model_dump(mode="json", include={"data", "evaluation"})
    choice = choice.also(*assignments_of({"experiment": experiment}))
    settings = stack_settings(inputs, choice, learners=learners, inherited=inherited, imported=known)

    from ensemble.predictions.learners import common_data
    from ensemble.predictions.level_zero import level_zero_of
    from ensemble.stacking.joint import with_members

    if settings.mode != "frozen":
        for learner in settings.learners:
            networks = networks_of(where, experiment, choice.words)
            check_name(learner, networks, f"network to train (--training {settings.mode})")
        settings = with_members(settings, where, choice)
        return where.meta_run(experiment, name or stack_name(settings)), settings
    learners_there = level_zero_of(settings, where, options=choice.shared_words)
    common_data([model for learner in learners_there for model in learner.models])
    return where.meta_run(experiment, name or stack_name(settings)), settings


def _repeated(where: Outputs, asked: tuple[Run, StackSettings], seeds: list[int]) -> list[tuple[Run, StackSettings]]:
    """The fit from every seed; the run of the settings' own seed keeps its name."""
    run, settings = asked
    return [
        (
            run if seed == settings.seed else where.meta_run(settings.experiment, f"{run.folder.name}-seed-{seed}"),
            settings.model_copy(update={"seed": seed}),
        )
        for seed in seeds or [settings.seed]
    ]


@app.command()
def evaluate(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", autocompletion=completion.stacks, help="One or more fits to the same learners."),
    ],
    root: options.Root = None,
    published: options.Published = False,
    protocol: options.Protocols = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Names the evaluation of several fits. Default: that of their experiment."),
    ] = None,
    cache_dir: options.CacheDir = None,
    as_json: options.Json = False,
) -> None:
    """Score stacks on the test frames beside their learners, the fixed combiners and the bounds."""
    where = outputs(cache_dir)
    protocols = options.parse_protocols(protocol)
    if name is not None and not re.fullmatch(NAME, name):
        raise SettingsError(f"--name {name!r}: expected letters, digits and . _ + -")
    found = list(dict.fromkeys(each for run in runs for each in where.repeats(_fit_called(where, run))))

    from ensemble.evaluation.evaluate import evaluate_stacks
    from ensemble.report.evaluated import draw_evaluation
    from ensemble.stacking.stack import load_stack

    stacks = [load_stack(run, where, root=root) for run in found]
    called = name or (where.name_of(found[0]) if len(runs) == 1 else stacks[0].settings.experiment)
    folder = found[0].folder if len(runs) == 1 and name is None else where.report(called)
    evaluate_stacks(stacks, where, folder, protocols)
    run = Run(folder)
    tables = draw_evaluation(run, published=published)
    options.show(*tables, plain=(run.protocols if protocols else run.scores).read_text("utf-8"), as_json=as_json)
    if not as_json:
        messages.print(f"scores, scores per image and pictures: {folder}")
        messages.print(f"next: {where.command('report', called)}")


@app.command("cross-validate")
def cross_validate_(
    inputs: Annotated[
        str, typer.Option(metavar="|".join(known_inputs()), help="What the meta-learner sees: rgb, d or rgb+d.")
    ],
    learners: Members = None,
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    experiment: options.Experiment = None,
    seeds: options.Seeds = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Begins the names of the runs. Default: meta-INPUTS.")
    ] = None,
    fresh: options.Fresh = False,
    cache_dir: options.CacheDir = None,
    as_json: options.Json = False,
) -> None:
    """The stack against the weighted log-mean without a test frame: on left-out folds, and on scenes in no fold."""
    where = outputs(cache_dir)
    check_name(inputs, known_inputs(), "inputs")
    chosen = None if learners is None else options.listed(learners)
    choice = options.choice(data, root, config, assignments, experiment)
    run, settings = _asked(where, inputs, chosen, choice, name)

    from ensemble.report.tables.cross_validation import cross_validation_tables
    from ensemble.stacking.cross_validation import cross_validate

    repeats = options.parse_seeds(seeds) or [settings.seed]
    found = cross_validate(settings, run.folder.name, where, seeds=repeats, fresh=fresh)
    options.show(*cross_validation_tables(found), plain=found.to_plain(), as_json=as_json)


@app.command("compare-subsets")
def compare(
    learners: Annotated[
        str | None,
        typer.Option(
            metavar="LEARNER,...",
            autocompletion=completion.learners,
            help="Two or more. Default: meta.learners of FILE, else those of the experiment.",
        ),
    ] = None,
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    experiment: options.Experiment = None,
    cache_dir: options.CacheDir = None,
    as_json: options.Json = False,
) -> None:
    """All subsets of learners under the cheap combiners, on out-of-fold rows: which learner earns its place."""
    where = outputs(cache_dir)
    choice = options.choice(data, root, config, None, experiment)
    name = experiment_name(choice)
    asked = learners_beside(where, name, choice) if learners is None else options.listed(learners)
    chosen = tuple(dict.fromkeys(asked))
    for learner in chosen:
        check_name(learner, learners_of(where, name, choice.words), "learner")
    if len(chosen) < 2:
        such = ",".join(known_learners()[:2])
        raise SettingsError(f"--learners {','.join(chosen)}: expected two or more different learners, such as {such}")

    from ensemble.metrics.statistics import few_scenes
    from ensemble.predictions.level_zero import with_all_folds
    from ensemble.report.tables.subsets import subset_table
    from ensemble.stacking.subsets import compare_subsets

    beside = settings_beside(where, name) or learner_settings(known_learners()[0], choice)
    found = with_all_folds(where, name, chosen, folds=beside.data.folds, root=root, options=choice.words)
    comparison = compare_subsets(found, where, found[0].tested[0].settings)
    options.show(subset_table(comparison), plain=comparison.to_plain(), as_json=as_json)
    if not as_json:
        results.print()
        for place in comparison.places:
            results.print(place.sentence)
        if warning := few_scenes(comparison.scenes):
            messages.print(warning.strip())


@app.command()
def compose(
    budget: Annotated[
        list[str],
        typer.Option(
            "--budget",
            metavar="BUDGET",
            help="Most that a set costs an image: 500ms, 30G (multiply-adds) or 10M (parameters). May be repeated.",
        ),
    ],
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    experiment: options.Experiment = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=options.place,
            help="YAML file of the chosen set, one for each of several budgets; the picture lies beside it.",
        ),
    ] = None,
    cache_dir: options.CacheDir = None,
    as_json: options.Json = False,
) -> None:
    """Learners and seeds of them that make the best stack for a cost, chosen greedily on out-of-fold rows."""
    where = outputs(cache_dir)
    budgets = list(dict.fromkeys(map(cost_budget, budget)))
    choice = options.choice(data, root, config, None, experiment)
    name = experiment_name(choice)
    place = out or where.report(name) / "composition.yaml"
    if place.suffix not in (".yaml", ".yml"):
        raise SettingsError(f"--out {place}: expected the name of a YAML file")

    from ensemble.report.drawing.fronts import draw_composition
    from ensemble.report.tables.composition import composition_table, sentence
    from ensemble.stacking.candidates import candidates, costs_of
    from ensemble.stacking.composition import compose

    members = candidates(where, name, root=root, options=choice.words)
    found = compose(members, costs_of(members), budgets, where)
    options.show(composition_table(found), plain=found.to_plain(), as_json=as_json)
    draw_composition(place.with_suffix(".png"), found)
    messages.print(f"picture: {place.with_suffix('.png')}")
    for each in found.of_kind("chosen"):
        told = sentence(each, found)
        if not as_json:
            results.print(told)
        if len(each.members) == 1:
            messages.print(f"{each.name}: {each.text} alone is best; a stack wants a second learner, so no file of it")
            continue
        file = place if len(budgets) == 1 else place.with_name(f"{place.stem}-{each.name}{place.suffix}")
        remarks = [where.command("meta", "compose", "--budget", each.name, *choice.words, "--experiment", name), told]
        write_text(file, composed_file(config, name, each.members, remarks=remarks))
        named = ("--config", str(file), "--name", f"composed-{each.name}", *options.root_words(root))
        follows = where.command("meta", "fit", "--inputs", "rgb+d", *named)
        messages.print(f"next: {follows}")


Saved = Annotated[
    str,
    typer.Argument(
        metavar="STACK|RUN",
        autocompletion=completion.runs,
        help="A saved stack, file or folder; a fit of the meta-learner; to predict, an exported file as well.",
    ),
]


@app.command()
def save(
    run: Annotated[
        str, typer.Argument(metavar="RUN", autocompletion=completion.stacks, help="A fit of the meta-learner.")
    ],
    out: options.Saved,
    half: options.Half = False,
    cache_dir: options.CacheDir = None,
) -> None:
    """A stack with its learners as one file, or as a folder for a model hub: it predicts without data and runs."""
    where = outputs(cache_dir)
    found = _fit_called(where, run)

    from ensemble.deploy.fitted import fitted_stack
    from ensemble.deploy.saved import replaced
    from ensemble.evaluation.networks import halving_report
    from ensemble.stacking.stack import load_stack

    stack = fitted_stack(load_stack(found, where), where)
    kept = stack.halved() if half else stack
    if told := replaced(out, kept.header.name):
        messages.print(told)
    kept.save(out)
    messages.print(f"{out}: {kept.header.name}, {', '.join(kept.learners)}")
    if half:
        both = stack.network.in_full_precision(), kept.network.in_full_precision()
        messages.print(halving_report(*both, stack.network.settings, where))
    words = [word for name in kept.network.imported for word in ("--maps", f"{name}=DIR")]
    words += ["--images", "DIR"] if words and kept.needs_images else []
    follows = ("fuse", str(out), *words) if words else ("predict", str(out), "IMAGE")
    messages.print(f"next: {command_line('meta', *follows, '--out', 'DIR')}")


@app.command()
def fuse(
    stack: Saved,
    maps: Annotated[list[str], typer.Option("--maps", metavar="LEARNER=DIR", help="Depth maps of a learner.")],
    out: options.Out,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", callback=options.place, help="Folder of the images, named as the maps are."),
    ] = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """New depth maps of a stack's learners into one, with expected error and weights, as .npy in metres."""
    pairs = [_named_folder(text) for text in maps]
    named = dict(pairs)
    if len(named) < len(pairs):
        twice = next(name for name, _ in pairs if [other for other, _ in pairs].count(name) > 1)
        raise SettingsError(f"--maps {twice}=...: expected one folder of every learner, found several of {twice}")
    if images is not None and not images.is_dir():
        raise SettingsError(f"--images {images}: there is no such folder")

    from ensemble.deploy.loading import load
    from ensemble.deploy.maps import fuse_maps

    count = fuse_maps(load(stack, cache_dir=cache_dir), named, images, out)
    messages.print(f"{counted(count, 'frame')} fused in {out}")


def _named_folder(text: str) -> tuple[str, Path]:
    name, found, folder = text.partition("=")
    if not (name and found and folder):
        raise SettingsError(f"--maps {text!r}: expected LEARNER=DIR, such as zoe=maps/zoe")
    place = options.at_home(Path(folder))
    if not place.exists():
        raise SettingsError(f"--maps {text}: {place} does not exist")
    return name, place


@app.command()
def predict(
    stack: Saved,
    images: options.Images,
    out: options.Out,
    only: options.Only = options.DEFAULT_KINDS,
    formats: options.Formats = options.DEFAULT_FORMATS,
    size: options.OutputSize = None,
    device: options.Device = "auto",
    no_flip: options.NoFlip = False,
    fov: options.FieldOfView = None,
    runtime: options.Runtime = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Depth of photographs: 16-bit PNG in millimetres, metres and expected error as .npy, pictures, weight maps."""
    wanted = options.Wanted.of(only, formats, size, device, no_flip=no_flip, fov=fov)
    if stack not in PRETRAINED and not options.at_home(Path(stack)).exists():
        named(stack, cache_dir)

    from ensemble.deploy.opening import open_any
    from ensemble.deploy.photographs import predict_photographs

    loaded = open_any(stack, device=device, flip=wanted.flip, runtime=runtime, cache_dir=cache_dir)
    predict_photographs(loaded, images, out, wanted)


if __name__ == "__main__":
    options.run(app)
