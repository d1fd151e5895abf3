"""Which models of a learner a command line means: the full fit, those of folds, and those of further seeds."""

from collections.abc import Callable, Sequence

from ensemble.console import counted, messages
from ensemble.predictions.available import networks_of
from ensemble.runs.paths import (
    ENVIRONMENT_VARIABLE,
    FULL,
    Outputs,
    fold_model,
    model_options,
    parts_of,
    seed_model,
)
from ensemble.runs.records import stored_settings
from ensemble.settings.schema import LearnerSettings
from ensemble.settings.trees import SettingsError


def models_to_train(
    settings: LearnerSettings, *, folds: int | None, fold: int | None, seeds: Sequence[int]
) -> dict[str, LearnerSettings]:
    """What to train, by the name of the model: full fits, and with ``folds`` the models of all folds from every seed.

    Raises:
        SettingsError: The fold is none of the folds.
    """
    count = settings.data.folds
    if fold is not None and fold >= count:
        raise SettingsError(f"--fold {fold}: expected 0 to {count - 1} (data.folds is {count})")
    wanted = (None, *range(folds or 0)) if fold is None else (fold,)
    return {
        _model(seed, each, own=settings.seed): settings.model_copy(update={"seed": seed, "fold": each})
        for each in wanted
        for seed in seeds or [settings.seed]
    }


def models_like(
    settings: LearnerSettings, model: str, *, fold: int | None, seeds: Sequence[int]
) -> dict[str, LearnerSettings]:
    """Further models with the settings of one that there is: of a fold, of seeds, else the full fit.

    Raises:
        SettingsError: The one that there is comes from a further seed, so that the experiment's own is not known; or as
            for ``models_to_train``.
    """
    if parts_of(model).seed is not None:
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
        messages.print(f"{counted(count, 'fold')} instead of {folds}: the data to fit have no more scenes")
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

    Learners may be imported; role ``oof`` wants the models of all folds, or that of ``fold`` alone, other roles the
    full fit; of every one of ``seeds``, or of the experiment's own where these are empty. ``settings_of`` is what a
    learner of ours would be trained with, should it not be trained yet, ``options`` those of the command line that
    trains it so.

    Raises:
        SettingsError: The fold is none of the folds, or seeds are asked for where there can be none.
        ValueError: No folds were decided yet, or their file is damaged.
    """
    networks = networks_of(where, experiment, options)
    if seeds and (imported := [name for name in learners if name not in networks]):
        raise SettingsError(
            f"--seeds: {imported[0]} was imported, so there are no other seeds of it; leave --seeds out"
        )
    own = {name: _own_seed(where, experiment, name, settings_of) for name in learners} if seeds else {}

    def models(each: int | None) -> list[tuple[str, str]]:
        return [(name, model) for name in learners for model in _models_of_seeds(seeds, each, own=own.get(name))]

    if role != "oof" and fold is None:
        return [models(None)]

    from ensemble.data.folds import read_folds

    path, decide = where.folds(experiment), ""
    if not path.is_file():  # only then does it matter what would be trained
        first = next((name for name in learners if name in networks), networks[0])
        words = ("--folds", str(settings_of(first).data.folds), *options, "--experiment", experiment)
        decide = where.command("base", "train", first, *words)
    count = read_folds(path, decide=decide).count
    if fold is not None and fold >= count:
        raise SettingsError(f"--fold {fold}: expected 0 to {count - 1}, the folds that {path} holds")
    return [models(each) for each in (range(count) if fold is None else (fold,))]


def _own_seed(where: Outputs, experiment: str, learner: str, settings_of: Callable[[str], LearnerSettings]) -> int:
    """The seed of a learner's full fit; its models carry no seed in their names."""
    full = where.learner_run(experiment, learner).settings
    return stored_settings(LearnerSettings, full).seed if full.is_file() else settings_of(learner).seed


def _models_of_seeds(seeds: Sequence[int], fold: int | None, *, own: int | None) -> list[str]:
    """The full fits from these seeds, or what they leave a fold out with; of the own seed where there are none."""
    if own is None:
        return [FULL if fold is None else fold_model(fold)]
    return [_model(seed, fold, own=own) for seed in seeds]


def _model(seed: int, fold: int | None, *, own: int) -> str:
    """A model's name; those from the settings' own seed are the ones that everything else rests on."""
    if seed == own:
        return FULL if fold is None else fold_model(fold)
    return seed_model(seed) if fold is None else fold_model(fold, seed)


def job_lines(
    where: Outputs,
    learners: Sequence[str],
    words: Sequence[str],
    trained_words: Sequence[str],
    *,
    folds: int,
    seeds: Sequence[int],
    out_of_fold: bool = False,
) -> list[str]:
    """Commands that train and cache everything that out-of-fold stacking needs; comments say what waits for what.

    ``words`` choose the settings of training; ``trained_words`` name the trained experiment, whose runs hold the rest.
    ``seeds`` are those of further full fits, which the row of equal cost wants of the best single learner; with
    ``out_of_fold`` also of further models of all folds, so that every seed is a candidate of a composition.
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
    left_out = [fold_model(fold, seed) for seed in seeds for fold in range(folds)] if out_of_fold else []
    trained += [
        where.command("base", "train", learner, *model_options(model), *words)
        for learner in learners
        for model in left_out
    ]
    roles = [("--role", role) for role in ("validation", "test")]
    roles += [("--role", "oof", "--fold", str(fold)) for fold in range(folds)]
    roles += [("--role", "test", "--seeds", str(seed)) for seed in seeds]
    if out_of_fold:
        roles += [("--role", "validation", "--seeds", str(seed)) for seed in seeds]
    roles += [("--role", "oof", *model_options(model)) for model in left_out]
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
