"""What there is to choose from, by the files of ``configs``: no list of names stands anywhere else."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from ensemble.settings.trees import SettingsError, check_name, config_folder

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$"
"""Of anything that gets a folder."""

NAMED_ONLY = ("students", "teachers", "transformers", "variants")
"""Folders below ``configs/base`` of networks that stacks weigh where they are named: small ones that learn from others,
those that these learn from, those that take far longer than the three of the study, and learners with one thing
changed."""

Role = Literal["fit", "validation", "test", "oof"]
"""What frames are, seen from a learner: trained on, chosen by, held out from everything, or of a fold it never saw."""

FITS = "meta-"
"""Begins the names of fits of the meta-learner, whose folders lie beside those of learners."""


def known_learners() -> tuple[str, ...]:
    """Names of the learners that have a YAML file, without importing their networks."""
    asides = (path for folder in NAMED_ONLY for path in (config_folder() / "base" / folder).glob("*.yaml"))
    return (*stacked_learners(), *sorted(path.stem for path in asides))


def stacked_learners() -> tuple[str, ...]:
    """Those that a stack weighs where nobody names any."""
    return tuple(sorted(path.stem for path in (config_folder() / "base").glob("*.yaml")))


def unless_named_only(names: Iterable[str], *, but: str = "") -> tuple[str, ...]:
    """Names of learners less those that stacks weigh only where they are named, ``but`` for one that was asked for."""
    asides = {*known_learners()} - {*stacked_learners(), but}
    return tuple(name for name in names if name not in asides)


def learner_file(name: str) -> Path:
    """The YAML file of one of the known learners."""
    folder = config_folder() / "base"
    places = (folder / f"{name}.yaml", *(folder / aside / f"{name}.yaml" for aside in NAMED_ONLY))
    return next((path for path in places if path.is_file()), places[0])


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
