"""What it costs to hold files against their checksums: opening a finished stack, reading the frames of a copy."""

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from unittest import mock

import torch
import typer

from benchmarks.tables import REPORTED, Target, in_turn, milliseconds, write_section
from ensemble.data.division import open_experiment
from ensemble.data.formats import images
from ensemble.data.rooms.source import write_rooms
from ensemble.predictions.learners import load_learner
from ensemble.predictions.level_zero import level_zero_of, rests_on
from ensemble.runs import seals
from ensemble.runs.claims import FOLDS, claim
from ensemble.runs.paths import Outputs, Run
from ensemble.settings.layers import Choice, learner_settings, stack_settings
from ensemble.settings.names import stacked_learners
from ensemble.settings.schema import RoomsSettings
from ensemble.stacking.stack import load_stack
from ensemble.training import networks
from ensemble.training.checkpoints import save_weights

CHOICE = Choice("rooms", assignments=["encoder.weights=none", "data.rooms={scenes: 4, test_scenes: 2, frames: 1}"])
SIZE, FRAMES = (480, 640), 20


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Of everything that is timed.")] = 15,
) -> None:
    """Measures with and without checks in turn and writes the section."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        where = Outputs(Path(folder))
        run = _finished(where)
        size = sum(path.stat().st_size for path in where.root.rglob("best.safetensors")) / 1e6

        def opened() -> None:
            for learner in load_stack(run, where).learners:
                load_learner(learner.tested[0])

        opening = _compared({"with its networks": opened, "alone": lambda: load_stack(run, where)}, repeats)
        write_rooms(Path(folder) / "copy", RoomsSettings(scenes=1, test_scenes=1, frames=1), SIZE)
        depth = next((Path(folder) / "copy").rglob("sync_depth*.png"))
        rgb = Path(folder) / "rgb.png"
        images.Image.open(next((Path(folder) / "copy").rglob("rgb*.jpg"))).save(rgb)
        reading = _compared(
            {
                "an image": lambda: [images.read_rgb(rgb) for _ in range(FRAMES)],
                "a depth map": lambda: [images.read_depth_mm(depth) for _ in range(FRAMES)],
            },
            repeats,
        )
    write_section(
        "checking",
        "Checksums",
        targets=[
            *(
                Target(
                    f"opening a finished stack of three learners {name}",
                    "<= 5 % more than before",
                    f"{checked / bare - 1:+.1%} ({milliseconds(checked)} and {milliseconds(bare)} ms)",
                    checked <= 1.05 * bare,
                )
                for name, (checked, bare) in opening.items()
            ),
            *(
                Target(
                    f"reading {name} of {SIZE[0]}x{SIZE[1]} (PNG), every chunk against its CRC",
                    REPORTED,
                    f"{checked / bare - 1:+.1%} ({1e3 * checked / FRAMES:.2f} and {1e3 * bare / FRAMES:.2f} ms)",
                    None,
                )
                for name, (checked, bare) in reading.items()
            ),
        ],
        parts=[
            f"Weights of {size:.0f} MB in all. Their fingerprint, computed anyway, is held against the seal of their "
            "run, without the copy in memory of before; who loads them next does not hash them again. Processor "
            "time of one thread."
        ],
    )


def _finished(where: Outputs) -> Run:
    """A stack and its learners as trainings leave them, with weights as they are drawn."""
    for name in stacked_learners():
        settings = learner_settings(name, CHOICE)
        run = where.learner_run(settings.experiment, name)
        claim(run, settings, open_experiment(where, settings).sources(None))
        _complete(run, networks.build_learner(settings))
    stack = stack_settings("rgb+d", CHOICE.also("rows=fit"))
    run = where.meta_run(stack.experiment, "meta")
    folds = open_experiment(where, stack).division.folds.fingerprint
    claim(run, stack, {**rests_on(level_zero_of(stack, where)), FOLDS: folds})
    _complete(run, networks.build_stack(stack))
    return run


def _complete(run: Run, network: torch.nn.Module) -> None:
    save_weights(network, run.best, {})
    seals.write_result(run.result, {}, run.written, weights=networks.sealed_weights(run))


def _former_fingerprint(path: Path, begun: bytes) -> str:
    digest = hashlib.sha256(begun)
    digest.update(path.read_bytes())
    return digest.hexdigest()


def _compared(tasks: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float]]:
    """Seconds with checks and as it was before there were any, in turn."""

    def bare(task: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            with (
                mock.patch.object(seals, "check", return_value=False),
                mock.patch.object(networks, "fingerprint_of", _former_fingerprint),
                mock.patch.object(images, "_check_chunks", return_value=None),
            ):
                task()

        return run

    both = {**tasks, **{f"{name}, bare": bare(task) for name, task in tasks.items()}}
    seconds = in_turn(both, repeats=repeats, clock=time.process_time)
    return {name: (seconds[name], seconds[f"{name}, bare"]) for name in tasks}


if __name__ == "__main__":
    typer.run(main)
