"""How long a person waits: for ``--help``, for the first training step on rooms, and for the rooms themselves."""

import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.tables import Target, in_turn, write_section
from ensemble.data.rooms.source import RoomsSource
from ensemble.settings.schema import RoomsSettings

REPOSITORY = Path(__file__).resolve().parents[1]


def main(repeats: Annotated[int, typer.Option(min=1, help="Of everything that is timed.")] = 3) -> None:
    """Measures the start of commands and writes its section."""
    commands = ("base", "meta", "study", "data", "report")
    helps = in_turn({name: _running(f"ensemble.{name}", "--help") for name in commands}, repeats=repeats)
    with tempfile.TemporaryDirectory() as folder:
        first = statistics.median(_seconds_to_first_step(Path(folder) / str(number)) for number in range(repeats))
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
        ],
        parts=["`--help` of the others: " + ", ".join(f"{name} {value:.2f} s" for name, value in helps.items())],
    )


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
