"""A saved stack in a program: how long until it is there, until the first image, and what the door adds to networks."""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer

from benchmarks.spent import REPOSITORY, checkouts_of, spent_in_turn, unpack_experiment
from benchmarks.tables import REPORTED, Table, Target, in_turn, milliseconds, write_section
from ensemble.data.transforms import resize_image
from ensemble.deploy.door import DepthStack
from ensemble.deploy.network import LearnerNetwork, StackNetwork
from ensemble.deploy.saved import Header, SavedLearner, package_versions
from ensemble.metrics.expected_error import ExpectedError
from ensemble.metrics.uncertainty import Calibration
from ensemble.settings.layers import Choice, learner_settings, stack_settings
from ensemble.settings.names import stacked_learners
from ensemble.training.networks import build_learner, build_stack

MOST_SECONDS, MOST_MEGABYTES = 4.0, 700.0
PHOTOGRAPH = (480, 640)
QUICK = 12
"""Small networks are timed so many times as often as large ones: one run takes a twentieth of a second."""
MANY = 17
"""Photographs of the long command; the short one has a single one, and the difference is work without the start."""

_SERVE = """
import json, sys, time
start = time.perf_counter()
import ensemble
stack = ensemble.load(sys.argv[1])
loaded = time.perf_counter() - start
from ensemble.deploy.compression.memory import own_peak_megabytes
megabytes = own_peak_megabytes()
import numpy as np
image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
start = time.perf_counter()
stack(image).depth
print(json.dumps([loaded, time.perf_counter() - start, megabytes]))
"""

_IMPORT = """
import torch
from ensemble.deploy.compression.memory import own_peak_megabytes
print(own_peak_megabytes())
"""


class Served(NamedTuple):
    """What a program waits for and takes.

    Attributes:
        load: Seconds for ``import ensemble`` and ``ensemble.load``.
        first: Seconds for the first image.
        megabytes: Most memory until it was loaded. torch takes more of it when the interpreter ends.
    """

    load: float
    first: float
    megabytes: float


def main(
    before: Annotated[Path | None, typer.Option(help="Checkout of an earlier commit, to run in turn.")] = None,
    stack: Annotated[Path | None, typer.Option(help="A saved stack; where absent one of the demo's networks.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Of everything that is timed.")] = 5,
) -> None:
    """Measures loading, the first image, the door's share, and predicting from a run; writes its section."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "demo.stack"
        if stack is None:
            untrained(Choice("rooms", config=REPOSITORY / "configs" / "demo.yaml")).save(place)
        else:
            shutil.copy(stack, place)
        served = _served(place, repeats)
        alone = float(_told(_IMPORT))
        small, published = DepthStack.open(place), untrained(Choice("nyu"))
        doors = {
            "the demo's networks": _door(small, repeats * QUICK),
            "the published widths": _door(published, repeats),
        }
        many = _predicting(Path(folder), before, repeats)
    write_section(
        "serving",
        "Serving",
        targets=[
            Target(
                "`ensemble.load` of the demo's stack", "<= 4 s", f"{served.load:.1f} s", served.load <= MOST_SECONDS
            ),
            Target(
                "memory when it is loaded",
                "<= 700 MB",
                f"{served.megabytes:.0f} MB",
                served.megabytes <= MOST_MEGABYTES,
                _why(alone),
            ),
            Target("what `import torch` alone takes of it", REPORTED, f"{alone:.0f} MB", None),
            Target("its first image of 480x640", REPORTED, f"{served.first:.2f} s", None),
            *(
                Target(
                    f"`stack(image)` of 480x640 against its networks alone, {name}",
                    "<= 5 % more",
                    f"{door / bare - 1:+.1%} ({milliseconds(door)} and {milliseconds(bare)} ms)",
                    door <= 1.05 * bare,
                )
                for name, (door, bare) in doors.items()
            ),
        ],
        parts=[
            "Loading and the first image are by the clock on the wall, the others processor time of one thread. "
            "Networks alone see the image at the size of training, and its mirror; `stack(image)` is asked for depth "
            "and expected error at the size of the photograph: other maps are brought to it when they are asked for.",
            f"`meta predict` of the tests' small experiment, processor time, 1 and {MANY} photographs:",
            Table(("commit", "one photograph, s", "each further one, s", "peak MB"), many),
        ],
    )


def _why(alone: float) -> str:
    """What memory beyond the bar is: a build of torch for CUDA maps its libraries when it is imported."""
    build = torch.version.cuda
    return f"`import torch` alone takes {alone:.0f} MB, " + (
        f"a build for CUDA {build}; docs/deployment.md names the other" if build else "a build without CUDA"
    )


def untrained(choice: Choice) -> DepthStack:
    """A stack of three learners with weights as they are drawn, at the settings of a choice."""
    choice = choice.also("encoder.weights=none")
    learners = [learner_settings(name, choice) for name in stacked_learners()]
    settings = stack_settings("rgb+d", choice, learners=stacked_learners())
    calibration = Calibration((0.0, 1.0), (0.01, 1.0))
    members = [LearnerNetwork([build_learner(own)], [own]) for own in learners]
    names = [own.learner for own in learners]
    network = StackNetwork(names, members, settings, build_stack(settings), ExpectedError(calibration))
    saved = tuple(SavedLearner(name=own.learner, title=own.learner, models={"full": own}) for own in learners)
    header = Header(
        name="untrained",
        learners=saved,
        settings=settings,
        calibration={name: list(values) for name, values in calibration.to_plain().items()},
        sources={},
        scores=None,
        versions=package_versions(),
    )
    return DepthStack(network, header)


def _served(place: Path, repeats: int) -> Served:
    runs = [json.loads(_told(_SERVE, str(place))) for _ in range(repeats)]
    return Served(*map(statistics.median, zip(*runs, strict=True)))


def _told(program: str, *words: str) -> str:
    ran = [sys.executable, "-c", program, *words]
    return subprocess.run(ran, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True).stdout


def _door(stack: DepthStack, repeats: int) -> tuple[float, float]:
    """Seconds of the stack on a photograph, and of its networks on what they see of it."""
    image = np.random.default_rng(0).integers(0, 256, (*PHOTOGRAPH, 3), np.uint8)
    seen = resize_image(image, stack.trained_size)[None]

    @torch.inference_mode()
    def bare() -> None:
        stack.network(seen)

    def door() -> None:
        found = stack(image)
        _ = found.depth, found.error  # a map is made when it is asked for

    seconds = in_turn({"door": door, "bare": bare}, repeats=repeats, clock=time.process_time)
    return seconds["door"], seconds["bare"]


def _predicting(folder: Path, before: Path | None, repeats: int) -> list[Sequence[str]]:
    """By commit: the first photograph, each further one, and memory."""
    unpack_experiment(folder)
    photographs = [folder / f"photograph_{number}.png" for number in range(MANY)]
    for photograph in photographs:
        shutil.copy(folder / "expected" / "small.png", photograph)
    begin = ("-m", "ensemble.meta", "predict", "meta-d")
    end = ("--cache-dir", str(folder / "cache"), "--out", str(folder / "out"))
    commands = {
        "one": (*begin, str(photographs[0]), *end),
        "many": (*begin, *map(str, photographs), *end),
    }
    found = spent_in_turn(commands, checkouts_of(before), repeats=repeats)
    rows = []
    for commit in checkouts_of(before):
        one, many = found["one", commit], found["many", commit]
        further = (many.seconds - one.seconds) / (MANY - 1)
        rows.append((commit, f"{one.seconds:.2f}", f"{further:.3f}", f"{many.megabytes:.0f}"))
    return rows


if __name__ == "__main__":
    typer.run(main)
