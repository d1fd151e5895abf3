"""The independent commands of out-of-fold stacking, for a cluster or several terminals."""

from collections.abc import Sequence

from ensemble.runs.paths import Outputs


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

    Args:
        where: Where the commands write.
        learners: Whose models.
        words: Options that choose the settings of training.
        trained_words: Options that name the trained experiment; what learners were trained with is in their runs.
        folds: Number of folds.
        seeds: Of further full fits.
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
        f"# {len(trained)} trainings, independent of each other",
        *trained,
        f"# {len(cached)} passes of caching, independent of each other; they wait for all trainings",
        *cached,
        f"# then: {fit}" if len(learners) > 1 else "# a stack wants a second learner",
    ]
