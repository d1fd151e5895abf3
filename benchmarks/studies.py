"""How many trials of a frozen arm an hour holds: rows are cached, frames are decoded once, no learner runs."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
import yaml

from benchmarks.tables import REPORTED, Table, Target, write_section

REPOSITORY = Path(__file__).resolve().parents[1]
STUDY = {
    "name": "rate",
    "config": str(REPOSITORY / "configs" / "experiments" / "rooms_tiny.yaml"),
    "questions": {"inputs": ["rgb+d"]},
    "numbers": {"training.lr": {"low": 1e-4, "high": 1e-2, "log": True}},
    "budget": {"steps": 60},
    "prepare": [{}],
}


def main(
    trials: Annotated[int, typer.Option(min=2, help="Of every number of workers.")] = 12,
) -> None:
    """Runs the same study with one worker and with two and writes its section."""
    counts = [1, 2] if (os.cpu_count() or 1) > 1 else [1]
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        study = Path(folder) / "rate.yaml"
        study.write_text(yaml.safe_dump(STUDY), encoding="utf-8")
        _run(study, cache, "--prepare")
        rates = {workers: _trials_per_hour(Path(folder), cache, trials, workers) for workers in counts}
    one = rates[1]
    write_section(
        "studies",
        "Studies",
        targets=[Target("frozen trials on rooms, one worker", REPORTED, f"{one:.0f} trials/hour", None)],
        parts=[
            f"Trials of 60 steps of 4 crops of 48x64 (configs/experiments/rooms_tiny.yaml), with the start of the "
            f"processes; {trials} trials of each number of workers, one thread each.",
            Table(
                ("workers", "trials/hour", "against one"),
                [(str(workers), f"{rate:.0f}", f"{rate / one:.2f}x") for workers, rate in rates.items()],
            ),
        ],
    )


def _trials_per_hour(folder: Path, cache: Path, trials: int, workers: int) -> float:
    study = folder / f"rate{workers}.yaml"
    study.write_text(yaml.safe_dump({**STUDY, "name": f"rate{workers}", "trials": trials}), encoding="utf-8")
    start = time.perf_counter()
    _run(study, cache, "--workers", str(workers))
    return 3600 * trials / (time.perf_counter() - start)


def _run(study: Path, cache: Path, *options: str) -> None:
    command = [sys.executable, "-m", "ensemble.study", "run", str(study), "--cache-dir", str(cache), *options]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        raise ValueError(f"{' '.join(command)}: ended with status {done.returncode}\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    typer.run(main)
