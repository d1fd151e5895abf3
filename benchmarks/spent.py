"""Commands in processes of their own: what they take of the processor and of memory, here and in another checkout."""

import json
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
LEGACY = REPOSITORY / "tests" / "ensemble" / "legacy"
"""A small experiment that commit 98bccfb wrote, so that checkouts since then can go on with it."""


CHECKOUT = "<checkout>"
"""Stands in a command for the name of the checkout that runs it, so that none reads what another one wrote."""


class Spent(NamedTuple):
    """What a process took.

    Attributes:
        seconds: Of the processor, in the process and in the kernel.
        megabytes: Most that it had in memory.
    """

    seconds: float
    megabytes: float


_WATCH = """
import json, os, subprocess, sys
quiet = subprocess.DEVNULL
child = subprocess.Popen([sys.executable, *sys.argv[1:]], stdout=quiet, stderr=quiet)
_, status, usage = os.wait4(child.pid, 0)
print(json.dumps([status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""
"""A small process that starts the one that is measured: Linux counts the memory of whoever starts it as its own."""


def spent(words: Sequence[str], checkout: Path) -> Spent:
    """Runs ``python WORDS`` in a checkout (Linux and macOS).

    Raises:
        ValueError: It fails.
    """
    watch = [sys.executable, "-c", _WATCH, *words]
    told = subprocess.run(watch, cwd=checkout, stdout=subprocess.PIPE, text=True, check=True).stdout
    status, seconds, memory = json.loads(told)
    if status:
        raise ValueError(f"{checkout}: python {' '.join(words)} failed")
    return Spent(seconds, memory / (1e6 if sys.platform == "darwin" else 1e3))


def spent_in_turn(
    commands: Mapping[str, Sequence[str]],
    checkouts: Mapping[str, Path],
    *,
    repeats: int,
    before_each: Callable[[], None] = lambda: None,
) -> dict[tuple[str, str], Spent]:
    """Medians by command and checkout; checkouts take turns.

    Args:
        commands: Words after ``python``, by name; ``CHECKOUT`` within them is replaced.
        checkouts: Folders, by name.
        repeats: Rounds.
        before_each: Is called before every process.
    """
    found: dict[tuple[str, str], list[Spent]] = {}
    for _ in range(repeats):
        for command, words in commands.items():
            for checkout, folder in checkouts.items():
                before_each()
                own = [word.replace(CHECKOUT, checkout) for word in words]
                found.setdefault((command, checkout), []).append(spent(own, folder))
    return {key: Spent(*map(statistics.median, zip(*runs, strict=True))) for key, runs in found.items()}


def checkouts_of(before: Path | None) -> dict[str, Path]:
    """This one, and the one of another commit where it is given."""
    return {**({} if before is None else {"before": before.resolve()}), "now": REPOSITORY}


def unpack_experiment(folder: Path) -> None:
    """Put the small experiment into a folder: ``cache`` and ``expected``."""
    with tarfile.open(LEGACY / "cache.tar.gz") as packed:
        packed.extractall(folder, filter="data")
