"""How long a person waits: for ``--help``, for small commands, for the first step of training, for rooms."""

import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.spent import CHECKOUT, LEGACY, REPOSITORY, Spent, checkouts_of, spent_in_turn, unpack_experiment
from benchmarks.tables import Table, Target, in_turn, write_section
from ensemble.data.rooms.source import RoomsSource, write_rooms
from ensemble.settings.schema import RoomsSettings

TORCH = "import torch"
WITH_TORCH = ("meta predict", "base import")
"""Small commands that need torch; the others do not."""
WHY = {
    "meta predict": "timm imports torchvision, and that torch._dynamo",
    "base verify": "it reads the trials of a study, with optuna, SQLAlchemy and alembic",
}
"""What a command that is slower than its target waits for."""


def main(
    before: Annotated[Path | None, typer.Option(help="Checkout of an earlier commit, to run in turn.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Of everything that is timed.")] = 3,
) -> None:
    """Measures the start of commands and writes its section."""
    commands = ("base", "meta", "study", "data", "report")
    helps = in_turn({name: _running(f"ensemble.{name}", "--help") for name in commands}, repeats=repeats)
    with tempfile.TemporaryDirectory() as folder:
        first = statistics.median(_seconds_to_first_step(Path(folder) / str(number)) for number in range(repeats))
    with tempfile.TemporaryDirectory() as folder:
        checkouts = checkouts_of(before)
        for checkout in checkouts:
            _small_experiment(Path(folder) / checkout)
        small = spent_in_turn(_small_commands(Path(folder) / CHECKOUT), checkouts, repeats=repeats)
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ensemble.base", "--help"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    has_torch = any(line.rpartition("|")[2].strip() == "torch" for line in loaded.splitlines())
    rooms = _rooms_per_second(repeats)
    write_section(
        "startup",
        "Start",
        targets=[
            Target("`python -m ensemble.base --help`", "< 1 s", f"{helps['base']:.2f} s", helps["base"] < 1),
            Target("the same without importing torch", "yes", "no" if has_torch else "yes", not has_torch),
            Target("`train bts` on rooms to its first step", "< 15 s", f"{first:.1f} s", first < 15),
            Target("rooms of 96x128, one core", ">= 30 frames/s", f"{rooms:.0f} frames/s", rooms >= 30),
            *_small_targets(small),
        ],
        parts=[
            "`--help` of the others: " + ", ".join(f"{name} {value:.2f} s" for name, value in helps.items()),
            "Small commands to their end, processor time and most memory:",
            Table(
                ("command", "commit", "processor, s", "peak MB"),
                [(*key, f"{each.seconds:.2f}", f"{each.megabytes:.0f}") for key, each in small.items()],
            ),
        ],
    )


def _small_targets(small: Mapping[tuple[str, str], Spent]) -> list[Target]:
    found = []
    for command in dict.fromkeys(command for command, _ in small if command != TORCH):
        seconds, limit = small[command, "now"].seconds, 3.5 if command in WITH_TORCH else 1.0
        why = WHY.get(command, "") if seconds > limit else ""
        what = f"processor time of a small `{command}`"
        found.append(Target(what, f"<= {limit} s", f"{seconds:.2f} s", seconds <= limit, why))
    if ("base import", "before") in small:
        most = small["base import", "before"].megabytes
        share, least = (small[command, "now"].megabytes / most for command in ("base import", TORCH))
        why = f"`import torch` alone takes {least:.0%}" if share > 0.6 else ""
        found.append(Target("peak memory of `base import`", "<= 60 % of before", f"{share:.0%}", share <= 0.6, why))
    return found


def _small_experiment(folder: Path) -> None:
    """What small commands read."""
    unpack_experiment(folder)
    source = RoomsSource(RoomsSettings(scenes=5, test_scenes=2, frames=2), (32, 48))
    for frame in source.frames:
        path = folder / "maps" / f"{frame.id}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, source.read(frame).depth)
    write_rooms(folder / "rooms", RoomsSettings(scenes=2, test_scenes=1, frames=1), (48, 64))


def _small_commands(folder: Path) -> dict[str, Sequence[str]]:
    """Commands of a few frames."""
    cache = ("--cache-dir", str(folder / "cache"))
    given = ("--role", "validation", "--rebuild", "--config", str(LEGACY / "legacy.yaml"), *cache)
    photograph = (str(folder / "expected/small.png"), "--out", str(folder / "photographs"))
    return {
        TORCH: ("-c", "import torch"),
        "meta predict": ("-m", "ensemble.meta", "predict", "meta-d", *photograph, *cache),
        "base import": ("-m", "ensemble.base", "import", "mine", str(folder / "maps"), *given),
        "base verify": ("-m", "ensemble.base", "verify", *cache),
        "report": ("-m", "ensemble.report", "legacy/meta-d", "--out", str(folder / "report"), *cache),
        "data doctor": ("-m", "ensemble.data", "doctor", str(folder / "rooms")),
    }


def _rooms_per_second(repeats: int) -> float:
    """Frames of new rooms in a second of processor time."""
    torch.set_num_threads(1)
    seeds = itertools.count()

    def render() -> None:
        source = RoomsSource(RoomsSettings(scenes=5, test_scenes=1, frames=4, seed=next(seeds)), (96, 128))
        for frame in source.frames[:20]:
            source.read(frame)

    return 20 / in_turn({"rooms": render}, repeats=max(repeats, 3), clock=time.process_time)["rooms"]


def _running(module: str, *arguments: str) -> Callable[[], object]:
    command = [sys.executable, "-m", module, *arguments]
    return lambda: subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True)


def _seconds_to_first_step(folder: Path) -> float:
    """From the start of the command until its log holds a step; the demo's networks, a few rooms."""
    options = ["--set", "data.rooms.scenes=6", "--set", "data.rooms.frames=4", "--set", "training.epochs=1"]
    command = [sys.executable, "-m", "ensemble.base", "train", "bts", "--config", "configs/demo.yaml", *options]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--cache-dir", str(folder)], cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    log = folder / "runs" / "demo" / "bts" / "full" / "log.jsonl"
    while process.poll() is None and not (log.is_file() and "train/loss" in log.read_text(encoding="utf-8")):
        time.sleep(0.02)
    seconds = time.perf_counter() - start
    if process.wait():
        raise ValueError(f"{' '.join(command)}: ended with status {process.returncode}")
    return seconds


if __name__ == "__main__":
    typer.run(main)
