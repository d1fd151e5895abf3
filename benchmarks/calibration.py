"""Memory of making 8 bits of the whole stack with published widths at 480x640; weights are random, memory counts."""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.spent import REPOSITORY, spent
from benchmarks.tables import Table, Target, write_section
from ensemble.deploy.export.module import Leaving
from ensemble.deploy.export.onnx_file import onnx_model
from ensemble.deploy.export.quantise import quantised_onnx
from ensemble.deploy.network import LearnerNetwork, StackNetwork
from ensemble.settings.layers import Choice, learner_settings, stack_settings
from ensemble.training.networks import build_learner, build_stack

SIZE = (480, 640)
LEARNERS = ("adabins", "bts", "ldrn")
MOST_GIGABYTES = 4.0


def main(images: Annotated[int, typer.Option(min=1, help="That ranges are told by.")] = 4) -> None:
    """Exports the stack, makes 8 bits of it in processes of their own, and writes their section."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for step, count in (("export", 0), ("quantise", 1), ("quantise", images)):
            found = spent(("-m", "benchmarks.calibration", step, folder, str(count)), REPOSITORY)
            rows.append((step, count, found.seconds, found.megabytes / 1e3))
        small, whole = (Path(folder, name).stat().st_size / 1e6 for name in ("small.onnx", "whole.onnx"))
    worst = max(gigabytes for step, _, _, gigabytes in rows if step == "quantise")
    write_section(
        "calibration",
        "Eight bits of the whole stack",
        targets=[
            Target(
                "memory of making 8 bits, 480x640",
                f"<= {MOST_GIGABYTES:g} GB",
                f"{worst:.2f} GB",
                worst <= MOST_GIGABYTES,
            )
        ],
        parts=[
            f"AdaBins, BTS, LDRN and the meta-learner with published widths, {whole:.1f} MB as ONNX in 32 bits and "
            f"{small:.1f} MB in 8; every step in a process of its own, memory with torch and the runtimes in it:",
            Table(
                ("step", "images", "s of the processor", "peak GB"),
                [(step, str(count or "-"), f"{seconds:.0f}", f"{gb:.2f}") for step, count, seconds, gb in rows],
            ),
        ],
    )


def stack() -> StackNetwork:
    """The stack of the published study at its full size, with random weights."""
    choice = Choice(kind="nyu", assignments=("encoder.weights=none",))
    torch.manual_seed(0)
    own = [learner_settings(name, choice) for name in LEARNERS]
    settings = stack_settings("rgb+d", choice)
    members = [LearnerNetwork([build_learner(each).eval()], [each]) for each in own]
    return StackNetwork(LEARNERS, members, settings, build_stack(settings)).flip_averaging(False)


def step_of(name: str, folder: Path, count: int) -> None:
    """One step, whose memory is that of this process."""
    import onnx  # pyright: ignore[reportMissingImports]

    if name == "export":
        model = onnx_model(Leaving(stack(), SIZE, torch.uint8), SIZE, open_size=False, stride=32)
        onnx.save(model, folder / "whole.onnx")
        return
    images = [np.random.default_rng(seed).integers(0, 256, (1, 3, *SIZE), dtype=np.uint8) for seed in range(count)]
    small = quantised_onnx(onnx.load(folder / "whole.onnx"), images, folder, convolutions_alone=("ldrn",))
    onnx.save(small, folder / "small.onnx")


if __name__ == "__main__":
    if sys.argv[1:2] in (["export"], ["quantise"]):
        step_of(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        typer.run(main)
