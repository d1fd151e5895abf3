"""``python -m ensemble.base``: train, import, cache, verify, score and measure the base learners."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ensemble import options
from ensemble.commands import completion
from ensemble.console import messages, print_json, results
from ensemble.deploy.named import named
from ensemble.distillation.asked import asked_teacher, placed
from ensemble.predictions.available import check_unused, learners_of
from ensemble.predictions.foreign.asked import import_settings, places_by_role, rays_of
from ensemble.predictions.foreign.record import EVERY_ROLE, ROLES
from ensemble.predictions.next_steps import after_caching, after_import, after_training
from ensemble.predictions.plan import (
    job_lines,
    models_like,
    models_to_cache,
    models_to_train,
    seeds_of_equal_cost,
    without_empty_folds,
)
from ensemble.pretrained import PRETRAINED
from ensemble.runs.paths import Outputs, command_line, outputs
from ensemble.runs.records import stored_settings
from ensemble.settings.kinds import COPY, facts_of
from ensemble.settings.layers import (
    Choice,
    experiment_name,
    learner_settings,
    moved,
    named_learners,
)
from ensemble.settings.names import known_learners, unless_named_only
from ensemble.settings.schema import (
    MOST,
    MOST_PROCESSES,
    SMALLEST_SIDE,
    LearnerSettings,
)
from ensemble.settings.trees import SettingsError, check_name
from ensemble.settings.units import PER_METRE, ROTATED, known_unit
from ensemble.tables import plain_table

app = options.application(f"Base learners: {', '.join(known_learners())}, and imported ones.")

Folds = Annotated[
    int | None,
    typer.Option(metavar="N", min=2, help="Divide the scenes into so many folds; train every fold's model as well."),
]
Unlabelled = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DIR",
        callback=options.some_places,
        help="Photographs without depth, which the teacher tells; repeatable.",
    ),
]
Learners = Annotated[
    list[str],
    typer.Argument(
        metavar="LEARNER", autocompletion=completion.learners, help="One or more learners; every image is read once."
    ),
]


@app.command()
def train(
    learner: options.Learner,
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    experiment: options.Experiment = None,
    folds: Folds = None,
    fold: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Leave the scenes of this fold out, train nothing else.")
    ] = None,
    seeds: options.Seeds = None,
    full: Annotated[
        bool, typer.Option("--full", help="With --resume, the full fit with the settings of a fold's model.")
    ] = False,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|LEARNER,...|FILE",
            help="Learn from a fitted stack, from learners (their log-mean), or from a saved stack as well.",
        ),
    ] = None,
    unlabelled: Unlabelled = None,
    resume: options.Resume = None,
    fresh: options.Fresh = False,
    wandb: options.Wandb = False,
    cache_dir: options.CacheDir = None,
) -> None:
    """Train a learner, or go on where its run stopped; with --folds, the models of all folds and the full fit.

    --folds with --seeds trains all of these from every seed. --resume RUN with --seeds, --fold or --full trains
    further models with the settings of that run. --teacher makes a student of it.
    """
    where = outputs(cache_dir)
    taught = _taught(teacher, unlabelled)
    choice = options.choice(data, root, config, assignments, experiment).also(*_with_folds(folds), *taught)
    if full and (resume is None or seeds is not None or fold is not None):
        raise SettingsError("--full goes with --resume alone; without it the full fit is what is trained")
    if resume is None:
        settings = placed(learner_settings(learner, choice))
        models = models_to_train(settings, folds=folds, fold=fold, seeds=options.parse_seeds(seeds))
    else:
        if assignments or config or data or experiment or folds is not None or taught:
            raise SettingsError("--resume goes on with the run's own settings: leave out all options that choose them")
        model, settings = _settings_of(where, resume, learner)
        settings = moved(settings, root)
        models = {model: settings}
        if seeds or full or fold is not None:
            models = models_like(settings, model, fold=fold, seeds=options.parse_seeds(seeds))
    _say_data(settings)
    if settings.distillation.teacher is not None:
        asked_teacher(settings.distillation.teacher, where, settings.experiment, choice.words)

        from ensemble.distillation.checks import check_student

        for own in models.values():
            check_student(own)

    from ensemble.distillation.lessons import open_teacher
    from ensemble.predictions.cameras import keep_focal
    from ensemble.predictions.foreign.import_depth import check_free_name
    from ensemble.training.learners import train_learner

    if settings.architecture != settings.learner:
        check_free_name(settings.learner)
        check_unused(where, settings.experiment, settings.learner)
    if folds is not None:
        models = without_empty_folds(models, where, folds)
    known = open_teacher(settings, where)
    for model, own in models.items():
        finished = train_learner(own, where, model, fresh=fresh, wandb=wandb, teacher=known)
        keep_focal(own.data, finished)
        messages.print(f"{settings.experiment}/{learner}/{model}: best weights in {finished.best}")
    given, sets = [*choice.words, *options.experiment_words(choice, settings.experiment)], assignments or []
    follows = after_training(where, settings, list(models), given, sets if resume is None else None)
    messages.print(f"next: {follows}")


@app.command()
def teach(
    teacher: Annotated[
        str, typer.Argument(metavar="RUN|LEARNER,...|FILE", help="A fitted stack, learners, or a saved stack.")
    ],
    unlabelled: Unlabelled = None,
    rows: Annotated[
        str, typer.Option(metavar="oof|fit", help="By models that never saw a frame, or by ones that did.")
    ] = "oof",
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    experiment: options.Experiment = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw away what is there first.")] = False,
    cache_dir: options.CacheDir = None,
) -> None:
    """Write a teacher's depth of the frames to fit, and of photographs, to the cache that students read.

    --data and --config are those of the student.
    """
    where = outputs(cache_dir)
    check_name(rows, ("oof", "fit"), "rows")
    choice = options.choice(data, root, config, None, experiment)
    name = experiment_name(choice)
    asked_teacher(teacher, where, name, choice.words)

    from ensemble.distillation.lessons import teacher_of

    found = teacher_of(teacher, where, name, rows=rows, root=root, folders=unlabelled or ())
    messages.print(f"teacher {found.expert.asked}: {found.how()}")
    parts = " and ".join(found.fill(rebuild=rebuild))
    messages.print(f"teacher {found.expert.asked}: {parts} of every frame are there")
    if config is None:  # frames of a student are those of its teacher
        choice = replace(choice, kind=found.expert.settings.data.kind, root=root or found.expert.settings.data.root)
    words = ["train", "fastdepth", "--teacher", teacher, *choice.words, *options.experiment_words(choice, name)]
    words += [word for folder in unlabelled or () for word in ("--unlabelled", str(folder))]
    words += ["--set", "distillation.rows=fit"] if rows == "fit" else []
    messages.print(f"next: {where.command('base', *words)}")


@app.command()
def jobs(
    learners: Annotated[
        list[str] | None,
        typer.Argument(metavar="LEARNER", autocompletion=completion.learners, help="All learners where absent."),
    ] = None,
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    experiment: options.Experiment = None,
    folds: Folds = None,
    seeds: options.Seeds = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Print the independent commands of out-of-fold stacking, one a line, for Slurm arrays or GNU parallel.

    --seeds are further full fits; with --folds as well, of every seed the models of all folds.
    """
    where = outputs(cache_dir)
    kept = [each for each in assignments or [] if folds is None or each.partition("=")[0].strip() != "data.folds"]
    choice = options.choice(data, root, config, kept, experiment).also(*_with_folds(folds))
    chosen = tuple(dict.fromkeys(learners or unless_named_only(named_learners(choice))))
    settings = {name: learner_settings(name, choice) for name in chosen}
    words = [*choice.words, *(word for each in choice.assignments for word in ("--set", each))]
    first = settings[chosen[0]]
    if any(own.distillation.teacher is not None for own in settings.values()):
        from ensemble.distillation.checks import check_student

        for own in settings.values():
            check_student(own.model_copy(update={"fold": 0}))  # models of folds are among the commands
    trained = [*choice.words, "--experiment", first.experiment]
    repeats = [seed for seed in options.parse_seeds(seeds) if seed != first.seed]
    repeats = repeats if seeds is not None else seeds_of_equal_cost(first.seed, len(chosen))

    from ensemble.data import open_source
    from ensemble.data.folds import divide_into_folds
    from ensemble.data.splits import training_frames

    frames = training_frames(open_source(first.data), first.data).fit
    count = divide_into_folds(frames, first.data.folds).count  # no more than there are scenes
    seeds_too = folds is not None and seeds is not None
    for line in job_lines(where, chosen, words, trained, folds=count, seeds=repeats, out_of_fold=seeds_too):
        results.print(line, soft_wrap=True, highlight=False, markup=False)


@app.command("lr-range")
def lr_range(
    learner: options.Learner,
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    experiment: options.Experiment = None,
    steps: Annotated[
        int, typer.Option(metavar="N", min=10, max=MOST, help="Optimiser steps, from 1e-6 up to 1.")
    ] = 100,
    cache_dir: options.CacheDir = None,
    as_json: options.Json = False,
) -> None:
    """Learning-rate range test: a curve as PNG and a suggestion."""
    settings = learner_settings(learner, options.choice(data, root, config, assignments, experiment))
    _say_data(settings)

    from ensemble.report.drawing.pictures import learning_rate_curve
    from ensemble.training.learners import range_test

    where = outputs(cache_dir)
    rates, losses, suggestion = range_test(settings, where, steps=steps)
    picture = where.learner_run(settings.experiment, learner).lr_range
    learning_rate_curve(picture, rates, losses, suggestion)
    if as_json:
        print_json({"learner": learner, "rates": rates, "losses": losses, "suggestion": suggestion})
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
    role: Annotated[str, typer.Option(metavar="|".join(ROLES), help="fit, validation, test or oof (out-of-fold).")],
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    experiment: options.Experiment = None,
    fold: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="The model of this fold; with oof, all folds' if absent.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,...", help="Models from these seeds. Default: the experiment's own.")
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw these learners' rows away first.")] = False,
    codec: Annotated[
        str, typer.Option(metavar="none|gzip", help="none, or gzip: half the size, slower to read.")
    ] = "none",
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=MOST_PROCESSES, help="Loader processes. Default: as in training."),
    ] = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Write the depth of every frame of a role to the cache; goes on where an earlier call stopped."""
    where = outputs(cache_dir)
    choice = options.choice(data, root, config, None, experiment)
    name = experiment_name(choice)
    for learner in learners:
        check_name(learner, learners_of(where, name, choice.words), "learner")
    check_name(role, ROLES, "role")
    passes = models_to_cache(
        where,
        name,
        list(dict.fromkeys(learners)),
        role=role,
        fold=fold,
        seeds=options.parse_seeds(seeds),
        settings_of=lambda each: learner_settings(each, choice),
        options=choice.words,
    )

    from ensemble.evaluation.held_out_rows import cache_test_predictions
    from ensemble.predictions.learners import trained_learner
    from ensemble.predictions.predict import cache_predictions
    from ensemble.predictions.store import CODECS

    check_name(codec, CODECS, "codec")
    for models in passes:
        trained = [trained_learner(where, name, *each, root=root, options=choice.words) for each in models]
        many = trained[0].settings.data.workers if workers is None else workers
        if role == "test":
            written = cache_test_predictions(trained, where, rebuild=rebuild, codec=codec, workers=many)
        else:
            written = cache_predictions(trained, where, ROLES[role], rebuild=rebuild, codec=codec, workers=many)
        if not written:
            names = ", ".join(f"{each.name}/{each.model}" for each in trained)
            messages.print(f"{role}: every frame of {names} is there already")
    given = [*choice.words, *options.experiment_words(choice, name)]
    messages.print(f"next: {after_caching(where, name, learners, role, given, seeds=options.parse_seeds(seeds))}")


@app.command("import")
def import_(
    name: Annotated[str, typer.Argument(help="What the learner is to be called.", metavar="NAME")],
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR|FILE",
            callback=options.place,
            help="Depth maps called by frame, or one file with all of them (HDF5, .r3d).",
        ),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            metavar="|".join((*ROLES, EVERY_ROLE)),
            help="fit, validation, test, oof (out-of-fold; fills all folds), or all: the last three.",
        ),
    ] = None,
    oof: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", callback=options.place, help="With --validation and --test, in place of DIR and --role."
        ),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(metavar="DIR", callback=options.place, help="Maps of the validation frames, likewise."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", callback=options.place, help="Of the test frames; all are checked before one is written."
        ),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT", help=f"{', '.join((*PER_METRE, ROTATED))}. Default: whole numbers are mm, real ones m."
        ),
    ] = None,
    divisor: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Numbers per metre, where no --unit names them.")
    ] = None,
    align_on: Annotated[
        str | None,
        typer.Option(metavar="fit", help="Depth has no scale: fit one scale and shift on rows of training."),
    ] = None,
    relative: Annotated[bool, typer.Option("--relative", help="The maps have no scale; wants --align-on fit.")] = False,
    inverse: Annotated[
        bool, typer.Option("--inverse", help="The maps hold 1 / depth without a scale; wants --align-on fit.")
    ] = False,
    ray: Annotated[
        bool | None,
        typer.Option(
            "--ray/--no-ray", help="The maps hold distances to the camera (Hypersim), or depth along its axis for sure."
        ),
    ] = None,
    focal: Annotated[
        float | None, typer.Option(metavar="PIXELS", help="With --ray: focal length in pixels of a map.")
    ] = None,
    centre: Annotated[
        str | None,
        typer.Option(metavar="COLUMN,ROW", help="With --ray: pixel of the axis. Default: the middle of a map."),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="These maps are by the model of this fold alone. Default: the full fit."),
    ] = None,
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    experiment: options.Experiment = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Throw the rows of this role away first.")] = False,
    cache_dir: options.CacheDir = None,
) -> None:
    """Take depth maps from elsewhere into the cache as a learner: PNG, .npy, HDF5, EXR and others, of any size."""
    places = places_by_role(folder, role, {"oof": oof, "validation": validation, "test": test}, fold)
    if align_on not in (None, "fit"):
        raise SettingsError(f"--align-on {align_on}: expected fit; scale and shift come from rows of training alone")
    if unit is not None and divisor is not None:
        raise SettingsError("--unit and --divisor say the same: give one of them")
    if inverse and align_on is None:
        raise SettingsError("--inverse: 1 / depth without a scale is fitted to rows of training; add --align-on fit")
    unit = unit if divisor is None else f"{divisor:g}"
    if unit is not None:
        known_unit(unit)
    rays = rays_of(focal, centre, ray=ray, inverse=inverse)
    where = outputs(cache_dir)
    choice = options.choice(data, root, config, None, experiment)
    settings = import_settings(where, name, fold, choice, {"unit": unit, "inverse": inverse, "rays": rays})
    for place in places.values():
        if not place.exists():
            raise SettingsError(f"{place}: there is no such folder or file")

    from ensemble.evaluation.held_out_rows import import_every_role
    from ensemble.predictions.foreign.checks import ImportRequest
    from ensemble.predictions.foreign.import_depth import check_free_name

    check_free_name(name)
    requests = [
        ImportRequest(
            settings,
            place,
            each,
            align=align_on is not None,
            relative=relative,
            axis=ray is False,
            rebuild=rebuild,
            options=tuple(choice.words),
            places=places if len(places) > 1 else {},
        )
        for each, place in places.items()
    ]
    import_every_role(requests, where)
    follows = after_import(where, settings, next(iter(places.values())), align=align_on is not None, given=choice.words)
    messages.print(f"next: {follows}")


@app.command("runs")
def list_runs(cache_dir: options.CacheDir = None, as_json: options.Json = False) -> None:
    """Names of all runs, learners and stacks, and how far each is."""
    where = outputs(cache_dir)
    rows = [(name, run.state) for name, run in where.runs().items()]
    plain = [{"run": name, "state": state} for name, state in rows]
    options.show(plain_table(["run", "state"], rows), plain=plain, as_json=as_json)
    if not rows:
        messages.print(f"there is no run below {where.root}")


@app.command()
def verify(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="EXPERIMENT", autocompletion=completion.experiments, help="All experiments where absent."
        ),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Print the commands that mend what is damaged, in order; runs none.")
    ] = False,
    cache_dir: options.CacheDir = None,
    as_json: options.Json = False,
) -> None:
    """Read every byte of predictions, runs and studies; exit status 1 where something is not as it was written."""
    where = outputs(cache_dir)
    if repair and as_json:
        raise SettingsError("--repair prints commands for a shell; leave out --json")

    from ensemble.predictions.repairs import repairs
    from ensemble.predictions.store.verify import verify_stores
    from ensemble.report.tables.verification import runs_table, stores_table
    from ensemble.runs.verify import run_folders, verify_run
    from ensemble.studies.storage.folders import known_studies

    stores = verify_stores(where, experiments or [])
    places = [where.root / kind / name for kind in ("runs", "reports", "studies") for name in experiments or [""]]
    runs = [verify_run(folder, where) for place in places for folder in run_folders(place)]
    studies = [name for name in known_studies(where) if name in (experiments or [name])]
    if studies:
        from ensemble.studies.storage.verify import verify_study

        runs = [run.also(verify_study(run.folder.name, where)) if run.is_study else run for run in runs]
    if repair:
        for line in repairs(stores, runs, where):
            results.print(line, soft_wrap=True, markup=False, highlight=False)
    else:
        plain = [each.to_plain() for each in (*stores, *runs)]
        options.show(stores_table(stores), *([runs_table(runs)] if runs else []), plain=plain, as_json=as_json)
    complaints = [shard.complaint for store in stores for shard in (*store.damaged, *store.unreadable)]
    complaints += [complaint.told for run in runs for complaint in run.complaints]
    for complaint in complaints:
        messages.print(f"error: {complaint}", style="red")
    if bare := [run.name for run in runs if not run.sealed]:
        messages.print(
            f"{len(bare)} of {len(runs)} folders, begun before checksums were kept, have none: {bare[0]} ..."
        )
    if complaints:
        raise typer.Exit(1)
    shards = sum(len(store.shards) for store in stores)
    messages.print(f"{shards} shards and {len(runs)} folders below {where.root}, all as they were written")


@app.command()
def evaluate(
    learner: options.AnyLearner,
    data: options.Data = None,
    root: options.Root = None,
    config: options.Config = None,
    experiment: options.Experiment = None,
    published: options.Published = False,
    protocol: options.Protocols = None,
    cache_dir: options.CacheDir = None,
    as_json: options.Json = False,
) -> None:
    """Score a learner on the test frames."""
    where = outputs(cache_dir)
    if config is None:
        learner, experiment = _of_experiment(where, learner, experiment)
    protocols = options.parse_protocols(protocol)
    choice = options.choice(data, root, config, None, experiment)
    name = experiment_name(choice)
    check_name(learner, learners_of(where, name, choice.words), "learner")

    from ensemble.evaluation.evaluate import evaluate_learner
    from ensemble.predictions.learners import trained_learner
    from ensemble.report.evaluated import draw_evaluation

    trained = trained_learner(where, name, learner, root=root, options=choice.words)
    evaluate_learner(trained, where, protocols)
    run = where.learner_run(name, learner)
    tables = draw_evaluation(run, published=published)
    options.show(*tables, plain=(run.protocols if protocols else run.scores).read_text("utf-8"), as_json=as_json)
    if not as_json:
        messages.print(f"scores, and scores per image: {run.folder}")
        messages.print(f"next: {where.command('report', f'{name}/{learner}')}")


@app.command()
def save(
    learner: Annotated[
        str,
        typer.Argument(
            metavar="LEARNER", autocompletion=completion.trained, help="A network of ours with its full fit."
        ),
    ],
    out: options.Saved,
    half: options.Half = False,
    experiment: options.Experiment = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """A trained learner as one file, or as a folder for a model hub: it predicts without data and runs."""
    where = outputs(cache_dir)
    learner, experiment = _of_experiment(where, learner, experiment)
    name = experiment_name(options.choice(None, None, None, None, experiment))
    check_name(learner, learners_of(where, name), "learner")

    from ensemble.deploy.fitted import fitted_learner
    from ensemble.deploy.saved import replaced
    from ensemble.evaluation.networks import halving_report
    from ensemble.predictions.learners import trained_learner

    whole = fitted_learner(trained_learner(where, name, learner))
    kept = whole.halved() if half else whole
    if told := replaced(out, kept.header.name):
        messages.print(told)
    kept.save(out)
    messages.print(f"{out}: {learner}")
    if half:
        both = whole.network.in_full_precision(), kept.network.in_full_precision()
        messages.print(halving_report(*both, whole.network.settings, where))
    messages.print(f"next: {command_line('base', 'predict', str(out), 'IMAGE', '--out', 'DIR')}")


@app.command()
def predict(
    learner: Annotated[
        str,
        typer.Argument(
            metavar="SAVED|RUN", autocompletion=completion.runs, help="A saved learner, or a run such as demo/bts."
        ),
    ],
    images: options.Images,
    out: options.Out,
    only: options.Only = options.DEFAULT_KINDS,
    formats: options.Formats = options.DEFAULT_FORMATS,
    size: options.OutputSize = None,
    device: options.Device = "auto",
    no_flip: options.NoFlip = False,
    fov: options.FieldOfView = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Depth of photographs by one learner: 16-bit PNG in millimetres, metres as .npy, pictures."""
    wanted = options.Wanted.of(only, formats, size, device, no_flip=no_flip, fov=fov)
    if learner not in PRETRAINED and not options.at_home(Path(learner)).exists():
        named(learner, cache_dir)

    from ensemble.deploy.opening import open_any
    from ensemble.deploy.photographs import predict_photographs

    loaded = open_any(learner, device=device, flip=wanted.flip, cache_dir=cache_dir)
    predict_photographs(loaded, images, out, wanted)


@app.command()
def profile(
    learner: Annotated[
        str | None,
        typer.Argument(
            metavar="LEARNER", autocompletion=completion.learners, help="One learner; all of them where absent."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Image size for the timing. Default: a learner's own where it has one, else "
            f"{options.default_size(COPY)}.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to time.")] = "cpu",
    repeats: Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Timed passes; the median counts.")] = 5,
    images: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            max=MOST,
            help="Time so many images one after the other instead: mean, deviation and frames/s, of a whole stack too.",
        ),
    ] = None,
    config: options.Config = None,
    as_json: options.Json = False,
) -> None:
    """Parameters, multiply-adds and frames per second beside the published rows."""
    if learner is not None:
        check_name(learner, named_learners(Choice(config=config)), "learner")
    check_name(device, ("cpu", "cuda"), "device")
    pixels = None if size is None else options.parse_size(size, smallest=SMALLEST_SIDE)

    from ensemble.report.tables.costs import profile_table, speed_table
    from ensemble.training.cost import profile_json, profile_rows
    from ensemble.training.speed import speed_json, speed_rows

    if images is not None:
        speeds = speed_rows(learner, pixels, images=images, device=device, config=config)
        options.show(speed_table(speeds), plain=speed_json(speeds), as_json=as_json)
        return
    rows = profile_rows(learner, pixels, device=device, repeats=repeats, config=config)
    options.show(profile_table(rows), plain=profile_json(rows), as_json=as_json)


def _of_experiment(where: Outputs, learner: str, experiment: str | None) -> tuple[str, str | None]:
    """A learner and its experiment, which may stand before it as in the names of runs (``demo/bts``); or the only one.

    Args:
        where: Runs are.
        learner: As it was typed.
        experiment: That an option names; ``None`` for none.
    """
    before, slash, name = learner.partition("/")
    if slash or experiment is not None:
        return (name, before) if experiment is None else (learner, experiment)
    having = [full.partition("/")[0] for full in where.runs() if full.partition("/")[2] == learner]
    return learner, having[0] if len(having) == 1 else None


def _taught(teacher: str | None, unlabelled: list[Path] | None) -> list[str]:
    """The settings that a teacher and photographs stand for."""
    if unlabelled and teacher is None:
        raise SettingsError("--unlabelled: photographs have no depth but that of a teacher; add --teacher RUN")
    named = [] if teacher is None else [f"distillation.teacher={json.dumps(teacher)}"]
    folders = [str(folder) for folder in unlabelled or ()]
    return [*named, *([f"distillation.unlabelled={json.dumps(folders)}"] if folders else [])]


def _with_folds(folds: int | None) -> list[str]:
    return [] if folds is None else [f"data.folds={folds}"]


def _settings_of(where: Outputs, name: str, learner: str) -> tuple[str, LearnerSettings]:
    """The model and the settings of a run that is to go on; refused where it is another's, or lies elsewhere."""
    run = where.find_run(name)
    settings = stored_settings(LearnerSettings, run.settings)
    if settings.learner != learner:
        raise SettingsError(f"--resume {name}: {run.folder} is a run of {settings.learner}, not of {learner}")
    model = run.folder.name
    if run.folder.resolve() != where.learner_run(settings.experiment, learner, model).folder.resolve():
        raise SettingsError(
            f"--resume {name}: {run.folder} is not below {where.root}; name its folder with --cache-dir"
        )
    return model, settings


def _say_data(settings: LearnerSettings) -> None:
    """Say what is trained on; refused where its folder is not there."""
    place, facts, copy = settings.data.root, settings.data.facts, facts_of(COPY)
    if facts.variable is None:
        way = f"name a copy of {copy.title} with --root or {copy.variable} to train on it"
        messages.print(f"data: {facts.title} ({way})")
    elif place is None or not place.is_dir():
        found = f"found no folder {place}" if place else "found none"
        raise SettingsError(f"data.root: expected the folder of {facts.title} in --root or {facts.variable}, {found}")
    else:
        messages.print(f"data: {facts.title} in {place}")


if __name__ == "__main__":
    options.run(app)
