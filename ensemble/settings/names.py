"""What there is to choose from, by the files of ``configs``: no list of names stands anywhere else."""

import re
from collections.abc import Iterable
from pathlib import Path

from ensemble.settings.trees import SettingsError, check_name, config_folder

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$"
"""Of anything that gets a folder."""

BESIDE = ("students", "teachers", "variants")
"""Folders below ``configs/base`` of networks that stacks weigh where asked to: small ones that learn from others, large
ones that these learn from, and learners with one setting changed."""

FITS = "meta-"
"""Begins the names of fits of the meta-learner, whose folders lie beside those of learners."""


def known_learners() -> tuple[str, ...]:
    """Names of the learners that have a YAML file, without importing their networks."""
    base = config_folder() / "base"
    return (*stacked_learners(), *(path.stem for each in BESIDE for path in sorted((base / each).glob("*.yaml"))))


def stacked_learners() -> tuple[str, ...]:
    """Those that a stack weighs where nobody names any: all but students, their teachers and variants."""
    return tuple(sorted(path.stem for path in (config_folder() / "base").glob("*.yaml")))


def without_students(names: Iterable[str], *, but: str = "") -> tuple[str, ...]:
    """Names of learners less those of ``BESIDE``, ``but`` for one that was asked for."""
    students = {*known_learners()} - {*stacked_learners(), but}
    return tuple(name for name in names if name not in students)


def learner_file(name: str) -> Path:
    """The YAML file of one of the known learners."""
    base = config_folder() / "base"
    found = (path for each in BESIDE if (path := base / each / f"{name}.yaml").is_file())
    return next(found, base / f"{name}.yaml")


def known_inputs() -> tuple[str, ...]:
    """What the meta-learner can see."""
    return tuple(sorted(path.stem for path in (config_folder() / "meta").glob("*.yaml")))


def check_own_learner(name: str, architecture: str) -> None:
    """Refuse the name of a learner whose architecture is called otherwise.

    Raises:
        SettingsError: It is that of an architecture, or cannot be that of a learner; or there is no such architecture.
    """
    known = known_learners()
    if name in known and name != architecture:
        raise SettingsError(
            f"architecture {architecture!r} of learner {name!r}: this name is that of another architecture; give a "
            "learner of one's own a name of its own"
        )
    check_name(architecture, known, f"architecture of learner {name!r}:")
    if not re.fullmatch(NAME, name) or name.startswith(FITS):
        raise SettingsError(
            f"learner {name!r}: expected letters, digits and . _ + -, and not {FITS} in front, which names fits of the "
            "meta-learner"
        )
