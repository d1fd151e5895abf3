"""Times things in turn and writes what came out into ``docs/benchmarks.md``; a section belongs to its command."""

import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from ensemble.console import results
from ensemble.options import settle
from ensemble.runs.files import write_text

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Every section is written by the command above its tables, never by hand. Times are medians over repeats in which the
things that are compared take turns, so that a busy machine slows all of them; compare ratios, not seconds.
`make bench` runs the short set.
"""


def _busy_share(seconds: float = 1.0) -> float:
    """Share of the machine's cores that others keep busy while this process sleeps (Linux; 0 elsewhere)."""
    known = Path("/proc/stat")
    if not known.is_file():
        return 0.0

    def spent() -> tuple[int, int]:
        user, nice, system, idle, waiting, *rest = map(int, known.read_text(encoding="ascii").split()[1:9])
        return user + nice + system + sum(rest), idle + waiting

    busy, idle = spent()
    time.sleep(seconds)
    busy, idle = spent()[0] - busy, spent()[1] - idle
    return busy / max(busy + idle, 1)


_BUSY_AT_START = _busy_share()
settle()  # as every command does
_shown_only = False


def only_show() -> None:
    """From now on sections are shown and not written: those of short runs must not replace those of long ones."""
    global _shown_only
    _shown_only = True


REPORTED = "reported"
"""The target of what is measured without one."""


@dataclass(frozen=True)
class Target:
    """What was to be reached.

    Attributes:
        what: What was measured.
        wanted: The target.
        measured: The outcome.
        met: Whether it was reached; ``None`` where it could not be measured, or where ``wanted`` is ``REPORTED``.
        why: A reason where it was not.
    """

    what: str
    wanted: str
    measured: str
    met: bool | None
    why: str = ""

    @property
    def verdict(self) -> str:
        """Whether it was reached, and why not."""
        unmet = "no target was set" if self.wanted == REPORTED else "not measured"
        return {True: "met", False: "not met", None: unmet}[self.met] + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class Table:
    """Rows below a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table, its first column text and the others numbers."""
        lines = [self.header, ["---", *["---:"] * (len(self.header) - 1)], *self.rows]
        return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def in_turn(
    tasks: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
    of_rounds: Callable[[Sequence[float]], float] = statistics.median,
) -> dict[str, float]:
    """Seconds of each task; all run once untimed, then one after the other, again and again.

    Args:
        tasks: What to do, by name.
        repeats: Timed rounds.
        clock: ``time.process_time`` for work of one thread that waits for nothing: on a busy machine it still counts
            that work alone.
        of_rounds: What is told of all rounds; ``min`` where others on the machine slow one task more than another.
    """
    for task in tasks.values():
        task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            start = clock()
            task()
            seconds[name].append(clock() - start)
    return {name: of_rounds(times) for name, times in seconds.items()}


def machine() -> str:
    """Processor, cores, versions, and how busy it was before this began."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and (match := re.search(r"model name\s*: (.*)", cpuinfo.read_text(encoding="utf-8"))):
        model = match.group(1)
    cores = os.cpu_count() or 1
    state = "idle" if _BUSY_AT_START < 0.1 else f"NOT IDLE: {_BUSY_AT_START:.0%} of them busy at the start"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{model}, {cores} cores ({state}), {gpu}, Python {platform.python_version()}, torch {torch.__version__}"


def command_line(name: str) -> str:
    """The command that this process runs; folders of this machine are left out."""
    words = ["FOLDER" if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return " ".join(["python -m benchmarks" if _shown_only else f"python -m benchmarks.{name}", *words])


def write_section(name: str, title: str, *, targets: Sequence[Target], parts: Sequence[Table | str] = ()) -> None:
    """Put a section into the document in place of its former self, and show it.

    Args:
        name: Of the module in ``benchmarks``.
        title: Headline.
        targets: What was to be reached.
        parts: Further tables and sentences.
    """
    rows = [(each.what, each.wanted, each.measured, each.verdict) for each in targets]
    body = [
        f"## {title}",
        f"`{command_line(name)}`, {datetime.now(UTC):%Y-%m-%d}. {machine()}.",
        Table(("what", "target", "measured", "verdict"), rows).markdown() if rows else "",
        *(part if isinstance(part, str) else part.markdown() for part in parts),
    ]
    section = "\n\n".join(text for text in body if text)
    results.print(section, soft_wrap=True)
    if _shown_only:
        return
    marks = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    block = f"{marks[0]}\n{section}\n{marks[1]}"
    text = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.is_file() else _HEAD
    pattern = re.compile(re.escape(marks[0]) + ".*?" + re.escape(marks[1]), re.DOTALL)
    text = pattern.sub(lambda _: block, text) if pattern.search(text) else f"{text.rstrip()}\n\n{block}\n"
    write_text(DOCUMENT, text)


def milliseconds(seconds: float) -> str:
    """Seconds as text in milliseconds."""
    return f"{1e3 * seconds:.2f}"


def millions(network: torch.nn.Module) -> str:
    """How many parameters a network has, in millions."""
    return f"{sum(each.numel() for each in network.parameters()) / 1e6:.1f}"
