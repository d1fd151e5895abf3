"""Which models of a learner a command line means: the full fit, those of folds, and those of further seeds."""

from collections.abc import Callable, Sequence

from ensemble.console import messages
from ensemble.predictions.available import networks_of
from ensemble.runs.paths import ENVIRONMENT_VARIABLE, FULL, Outputs, fold_model, seed_model
from ensemble.runs.records import stored_settings
from ensemble.settings.schema import LearnerSettings
from ensemble.settings.trees import SettingsError


def models_to_train(
    settings: LearnerSettings, *, folds: int | None, fold: int | None, seeds: Sequence[int]
) -> dict[str, LearnerSettings]:
    """What to train, by the name of the model.

    Raises:
        SettingsError: The fold is none of the folds, or folds and seeds are asked for together.
    """
    count = settings.data.folds
    if seeds and (folds, fold) != (None, None):
        raise SettingsError("--seeds repeats the full fit: leave --folds and --fold out")
    if fold is not None:
        if fold >= count:
            raise SettingsError(f"--fold {fold}: expected 0 to {count - 1} (data.folds is {count})")
        return {fold_model(fold): settings.model_copy(update={"fold": fold})}
    models = {
        _full_fit(seed, own=settings.seed): settings.model_copy(update={"seed": seed})
        for seed in seeds or [settings.seed]
    }
    if folds is not None:
        models |= {fold_model(each): settings.model_copy(update={"fold": each}) for each in range(folds)}
    return models


def models_like(
    settings: LearnerSettings, model: str, *, fold: int | None, seeds: Sequence[int]
) -> dict[str, LearnerSettings]:
    """Further models with the settings of one that there is: of a fold, of seeds, else the full fit.

    Raises:
        SettingsError: The one that there is comes from a further seed, so that the experiment's own is not known; or as
            for ``models_to_train``.
    """
    if model == seed_model(settings.seed):
        raise SettingsError(
            f"--seeds, --fold and --full want a run whose seed is the experiment's own, this is {model}; "
            f"name {FULL} or a fold's"
        )
    return models_to_train(settings.model_copy(update={"fold": None}), folds=None, fold=fold, seeds=seeds)


def without_empty_folds(models: dict[str, LearnerSettings], where: Outputs, folds: int) -> dict[str, LearnerSettings]:
    """The models that there are scenes for; data of few scenes have as many folds as scenes."""
    from ensemble.data.division import open_experiment

    first = next(iter(models.values()))
    count = open_experiment(where, first).division.folds.count
    if count < folds:
        messages.print(f"{count} folds instead of {folds}: the data to fit have no more scenes")
    return {name: own for name, own in models.items() if own.fold is None or (own.fold < count and count > 1)}


def models_to_cache(
    where: Outputs,
    experiment: str,
    learners: Sequence[str],
    *,
    role: str,
    fold: int | None,
    seeds: Sequence[int],
    settings_of: Callable[[str], LearnerSettings],
    options: Sequence[str],
) -> list[list[tuple[str, str]]]:
    """Learners and their models, one list for each pass over the images.

    Learners may be imported; role ``oof`` wants the models of all folds, or that of ``fold`` alone, and ``seeds`` full
    fits from these, the one full fit where empty. ``settings_of`` is what a learner of ours would be trained with,
    should it not be trained yet, ``options`` those of the command line that trains it so.

    Raises:
        SettingsError: The fold is none of the folds, or seeds are asked for where there can be none.
        ValueError: No folds were decided yet, or their file is damaged.
    """
    networks = networks_of(where, experiment, options)
    if role != "oof" and fold is None:
        if seeds and (imported := [name for name in learners if name not in networks]):
            raise SettingsError(
                f"--seeds: {imported[0]} was imported, so there are no other seeds of it; leave --seeds out"
            )
        return [
            [(name, model) for name in learners for model in _full_fits(where, experiment, name, seeds, settings_of)]
        ]
    if seeds:
        raise SettingsError("--seeds names full fits: leave --fold out, and ask for another role than oof")

    from ensemble.data.folds import read_folds

    path, decide = where.folds(experiment), ""
    if not path.is_file():  # only then does it matter what would be trained
        first = next((name for name in learners if name in networks), networks[0])
        words = ("--folds", str(settings_of(first).data.folds), *options, "--experiment", experiment)
        decide = where.command("base", "train", first, *words)
    count = read_folds(path, decide=decide).count
    if fold is not None and fold >= count:
        raise SettingsError(f"--fold {fold}: expected 0 to {count - 1}, the folds that {path} holds")
    return [[(name, fold_model(each)) for name in learners] for each in (range(count) if fold is None else (fold,))]


def _full_fits(
    where: Outputs,
    experiment: str,
    learner: str,
    seeds: Sequence[int],
    settings_of: Callable[[str], LearnerSettings],
) -> list[str]:
    """The models of a learner that are full fits from these seeds."""
    if not seeds:
        return [FULL]
    full = where.learner_run(experiment, learner).settings
    own = stored_settings(LearnerSettings, full).seed if full.is_file() else settings_of(learner).seed
    return [_full_fit(seed, own=own) for seed in seeds]


def _full_fit(seed: int, *, own: int) -> str:
    """The full fit from a seed; that from the settings' own seed is the full fit that everything else rests on."""
    return FULL if seed == own else seed_model(seed)


def job_lines(
    where: Outputs,
    learners: Sequence[str],
    words: Sequence[str],
    trained_words: Sequence[str],
    *,
    folds: int,
    seeds: Sequence[int],
) -> list[str]:
    """Commands that train and cache everything that out-of-fold stacking needs; comments say what waits for what.

    ``words`` choose the settings of training; ``trained_words`` name the trained experiment, whose runs hold the rest.
    ``seeds`` are those of further full fits, which the row of equal cost wants of the best single learner.
    """
    trained = [where.command("base", "train", learner, *words) for learner in learners]
    trained += [
        where.command("base", "train", learner, "--fold", str(fold), *words)
        for learner in learners
        for fold in range(folds)
    ]
    trained += [
        where.command("base", "train", learner, "--seeds", str(seed), *words) for learner in learners for seed in seeds
    ]
    roles = [("--role", role) for role in ("validation", "test")]
    roles += [("--role", "oof", "--fold", str(fold)) for fold in range(folds)]
    roles += [("--role", "test", "--seeds", str(seed)) for seed in seeds]
    cached = [where.command("base", "cache", *learners, *role, *trained_words) for role in roles]
    fit = where.command("meta", "fit", "--inputs", "rgb+d", "--learners", ",".join(learners), *trained_words)
    return [
        *_remarks(where),
        f"# {len(trained)} trainings, independent of each other",
        *trained,
        f"# {len(cached)} passes of caching, independent of each other; they wait for all trainings",
        *cached,
        f"# then: {fit}" if len(learners) > 1 else "# a stack wants a second learner",
    ]


def seeds_of_equal_cost(own: int, learners: int) -> list[int]:
    """Further seeds of the best single learner that make it cost as much as all learners: what the table wants."""
    return [seed for seed in range(learners + 1) if seed != own][: learners - 1]


def _remarks(where: Outputs) -> list[str]:
    """What a machine needs for the lines below."""
    here = f"the same {ENVIRONMENT_VARIABLE}, or working folder, everywhere"
    place = f"all lines write below {where.root.absolute()}: {here}"
    return [
        "# memory: about 1.5 GB for a training at 96x128 with 572 preloaded frames on a CPU; it grows with data.size "
        "and training.batch_size",
        f"# --cache-dir stands in every line: {where.root}" if where.named else f"# {place}",
    ]
