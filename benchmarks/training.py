"""What a step of training takes of the processor, and a training of memory, with the stacking experiment's networks."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.spent import REPOSITORY, checkouts_of, spent_in_turn
from benchmarks.tables import REPORTED, Table, Target, write_section
from ensemble.settings.names import stacked_learners

EXPERIMENT = REPOSITORY / "configs" / "experiments" / "nyu_stacking.yaml"
ENCODERS = {"MobileNetV2": ("mobilenetv2_100", "same"), "EfficientNet-Lite0": ("tf_efficientnet_lite0", "same")}
SHORT, LONG = 4, 44
"""Steps of two trainings; their difference is work without the start."""
MOST_SECONDS, MOST_MEGABYTES = 0.75, 0.65
"""As multiples of the commit before."""


def main(
    before: Annotated[Path | None, typer.Option(help="Checkout of an earlier commit, to run in turn.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Of every training.")] = 3,
) -> None:
    """Measures trainings on generated rooms with one thread and writes its section."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as place:
        cache = Path(place) / "cache"
        commands = {
            f"{learner} on {encoder}, {steps}": _training(learner, encoder, steps, cache)
            for learner in stacked_learners()
            for encoder in ENCODERS
            for steps in (SHORT, LONG)
        }
        found = spent_in_turn(
            commands,
            checkouts_of(before),
            repeats=repeats,
            before_each=lambda: shutil.rmtree(cache, ignore_errors=True),
        )
    commits = list(checkouts_of(before))
    rows, steps_of, memory_of = [], dict.fromkeys(commits, 0.0), dict.fromkeys(commits, 0.0)
    for learner in stacked_learners():
        for encoder in ENCODERS:
            name = f"{learner} on {encoder}"
            for commit in commits:
                short, long = found[f"{name}, {SHORT}", commit], found[f"{name}, {LONG}", commit]
                step = (long.seconds - short.seconds) / (LONG - SHORT)
                steps_of[commit] += step
                memory_of[commit] += long.megabytes
                rows.append((name, commit, f"{1e3 * step:.0f}", f"{long.megabytes:.0f}"))
    write_section(
        "training",
        "Training",
        targets=_targets(steps_of, memory_of, len(rows) // len(commits)),
        parts=[
            "`base train` on generated rooms at 96x128, batches of 8, bfloat16, one thread; processor time of a step "
            f"is the difference of {LONG} and {SHORT} steps.",
            Table(("learner", "commit", "a step, ms", "peak MB"), rows),
        ],
    )


def _targets(steps: dict[str, float], memory: dict[str, float], count: int) -> list[Target]:
    """Means over the learners, now and against the commit before."""
    mean = f"{1e3 * steps['now'] / count:.0f} ms, {memory['now'] / count:.0f} MB"
    targets = [Target("a step and a training, means over the rows", REPORTED, mean, None)]
    if "before" in steps:
        faster, smaller = (each["now"] / each["before"] for each in (steps, memory))
        why = "imports of torch, Lightning and timm are two thirds of it" if smaller > MOST_MEGABYTES else ""
        targets += [
            Target("processor time of a step", f"<= {MOST_SECONDS}x", f"{faster:.2f}x", faster <= MOST_SECONDS),
            Target("memory", f"<= {MOST_MEGABYTES}x", f"{smaller:.2f}x", smaller <= MOST_MEGABYTES, why),
        ]
    return targets


def _training(learner: str, encoder: str, steps: int, cache: Path) -> list[str]:
    name, padding = ENCODERS[encoder]
    given = {
        "data.rooms": "{scenes: 12, test_scenes: 1, frames: 6}",
        "encoder.name": name,
        "encoder.arguments": f"{{pad_type: {padding}}}",
        "encoder.weights": "none",
        "training.max_steps": str(steps),
        "training.validate_every": "100",
    }
    words = ["-m", "ensemble.base", "train", learner, "--data", "rooms", "--config", str(EXPERIMENT)]
    words += [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
    return [*words, "--cache-dir", str(cache)]


if __name__ == "__main__":
    typer.run(main)
