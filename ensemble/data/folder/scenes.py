"""What a person's own patterns and rules make of names, within a time: a regular expression may never end."""

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ensemble.settings.schema import FIRST_FOLDER
from ensemble.settings.trees import SettingsError

PATIENCE = 5.0
"""Seconds of processor time that names may take; a million of them take less than that where a rule is a sane one."""


def scene_of(name: str, rule: str) -> str | None:
    """The scene of a frame's id; ``None`` where the rule says nothing of it."""
    if rule == FIRST_FOLDER:
        return name.partition("/")[0] if "/" in name else None
    match = re.search(rule, name)
    if match is None:
        return None
    return (match.group(1) if match.re.groups else match.group()) or None


@contextmanager
def in_time(told: str, expected: str) -> Iterator[None]:
    """A block that matches names, and is left where it takes too long.

    Args:
        told: The settings that it matches by.
        expected: In their place.

    Raises:
        SettingsError: It does.
    """
    if threading.current_thread() is not threading.main_thread():  # no other one gets signals
        yield
        return

    def leave(_: int, __: FrameType | None) -> None:
        raise SettingsError(f"{told}: {PATIENCE:g} s were not enough to look at the names of files; {expected}")

    before = signal.signal(signal.SIGVTALRM, leave)
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
