"""What there is to choose from, by the files of ``configs``: no list of names stands anywhere else."""

from ensemble.settings.trees import config_folder


def known_learners() -> tuple[str, ...]:
    """Names of the learners that have a YAML file, without importing their networks."""
    return tuple(sorted(path.stem for path in (config_folder() / "base").glob("*.yaml")))


def known_inputs() -> tuple[str, ...]:
    """What the meta-learner can see."""
    return tuple(sorted(path.stem for path in (config_folder() / "meta").glob("*.yaml")))
