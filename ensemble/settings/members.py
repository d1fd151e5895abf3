"""The members of a stack: a learner, or the same learner from another seed; ``ldrn``, ``ldrn#1``, ``ldrn#2``."""

import re
from collections.abc import Container, Iterable
from typing import NamedTuple

from ensemble.settings.trees import SettingsError, check_name

SIGN = "#"
"""Between a learner and the seed; no learner, run or import has it in its name, and every file system takes it."""


class Member(NamedTuple):
    """Which models a stack takes for one of its learners."""

    learner: str  # ours, or imported
    seed: int | None = None  # of further models of it; absent for those from the experiment's own seed

    @property
    def name(self) -> str:
        """What it is called."""
        return self.learner if self.seed is None else f"{self.learner}{SIGN}{self.seed}"


def member_of(name: str) -> Member:
    """The member that goes by a name.

    Raises:
        SettingsError: What follows the sign is no seed.
    """
    learner, sign, seed = name.partition(SIGN)
    if not sign:
        return Member(learner)
    if not re.fullmatch("0|[1-9][0-9]{0,17}", seed):
        raise SettingsError(f"{name!r}: expected a learner, or one with a seed such as {learner or 'bts'}{SIGN}1")
    return Member(learner, int(seed))


def check_member(name: str, known: Iterable[str], networks: Container[str] | None = None) -> None:
    """Refuse a member whose learner is unknown, or that asks for a seed of what is none of the ``networks``.

    Raises:
        SettingsError: It is refused.
    """
    learner, seed = member_of(name)
    check_name(learner, known, "learner")
    if seed is not None and networks is not None and learner not in networks:
        raise SettingsError(f"{name}: {learner} was imported, so there are no other seeds of it")
