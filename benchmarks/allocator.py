"""What it costs that glibc gives freed memory back to the kernel, and what keeping it saves."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Annotated

import torch
import typer

from base_learners import LEARNERS
from base_learners.losses import scale_invariant_log_loss
from benchmarks.tables import Table, Target, milliseconds, write_section
from ensemble.runs.allocator import KEEP_BYTES
from ensemble.settings.layers import Choice, learner_settings
from ensemble.training.networks import build_learner

KEEP = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(KEEP_BYTES))
DEFAULT = {"MALLOC_TOP_PAD_": str(128 << 10)}
"""glibc's own value: a setting of a person's own, beside which the package leaves everything as it is."""

MEASURE = "--measure"


def main(
    learner: Annotated[str, typer.Option(help="Which learner takes steps.")] = "bts",
    repeats: Annotated[int, typer.Option(min=1, help="Processes of each kind, in turn.")] = 3,
) -> None:
    """Trains a few steps with and without and writes its section."""
    found: dict[str, list[dict[str, float]]] = {"default": [], "kept": []}
    for _ in range(repeats):
        for name, runs in found.items():
            bare = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
            environment = {**bare, **(KEEP if name == "kept" else DEFAULT)}
            command = [sys.executable, "-m", "benchmarks.allocator", MEASURE, learner]
            answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            runs.append(json.loads(answer))
    median = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in found.items()
    }
    ratio = median["default"]["cpu"] / median["kept"]["cpu"]
    write_section(
        "allocator",
        "Memory that goes back to the kernel",
        targets=[
            Target(
                f"processor time of a training step of {learner} with large blocks kept",
                "built in if above 1.1x",
                f"{ratio:.2f}x faster",
                ratio >= 1.1,
            )
        ],
        parts=[
            f"glibc, {' '.join(f'{key}={value}' for key, value in KEEP.items())}. A step of 4 crops of 104x136, ms.",
            Table(
                ("malloc", "processor", "of it in the kernel", "wall", "page faults", "peak MB"),
                [_row(name, each) for name, each in median.items()],
            ),
        ],
    )


def _row(name: str, found: dict[str, float]) -> tuple[str, ...]:
    times = (milliseconds(found[key]) for key in ("cpu", "system", "wall"))
    return (name, *times, f"{found['faults']:.0f}", f"{found['peak']:.0f}")


def measure(learner: str, steps: int = 8) -> dict[str, float]:
    """Seconds, page faults and peak memory of a training step in this process."""
    torch.set_num_threads(1)
    network = build_learner(
        learner_settings(learner, Choice(kind="rooms", assignments=("encoder.weights=none",)))
    ).train()
    optimiser = torch.optim.AdamW(network.parameters())
    image, target = torch.rand(4, 3, 104, 136), torch.rand(4, 1, 104, 136) * 9 + 0.5
    valid = torch.ones_like(target).bool()

    def step() -> None:
        optimiser.zero_grad()
        scale_invariant_log_loss(network(image).depth, target, valid).backward()
        optimiser.step()

    for _ in range(3):
        step()
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(steps):
        step()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    return {
        "cpu": (after.ru_utime - before.ru_utime + system) / steps,
        "system": system / steps,
        "wall": wall / steps,
        "faults": (after.ru_minflt - before.ru_minflt) / steps,
        "peak": after.ru_maxrss / 1024,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == [MEASURE] and sys.argv[2] in LEARNERS:
        sys.stdout.write(json.dumps(measure(sys.argv[2])))
    else:
        typer.run(main)
