"""The compression report: every recipe made, run beside the plain file, scored, and told as it is."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ensemble.console import messages
from ensemble.deploy.compression.measuring import (
    Judged,
    Measured,
    depths_of,
    judged,
    nonzero_weights,
    timed_in_turn,
    weighed,
)
from ensemble.deploy.compression.memory import peak_megabytes
from ensemble.deploy.compression.recipes import BASELINES, Made, Workplace, recipe_of, with_baselines, write
from ensemble.deploy.door import DepthStack
from ensemble.deploy.export.frames import GateFrames, GateImage
from ensemble.deploy.export.module import Leaving
from ensemble.deploy.export.write import rounded_up
from ensemble.deploy.runtime.session import Run
from ensemble.deploy.runtime.sessions import RUNTIMES
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.metrics.statistics import Difference, paired_differences

MOST_CALIBRATED = 32
"""Images whose activations tell the ranges of 8 bits."""


@dataclass(frozen=True)
class Asked:
    """What a report is made of.

    Attributes:
        recipes: Names.
        images: Folder of photographs; validation frames of the training where absent.
        count: Of images to score.
        steps: Of training further, where a recipe has that.
        rounds: Of timing.
    """

    recipes: Sequence[str]
    images: Path | None = None
    count: int = 64
    steps: int = 200
    rounds: int = 15


@dataclass(frozen=True)
class CompressionReport:
    """Rows, and what they stand for.

    Attributes:
        name: Of the stack or learner.
        size: Height and width of the images.
        images: What was scored, in words.
        scenes: Of these images.
        rows: ``fp32`` first.
        unmet: Recipe -> why there is no row of it.
    """

    name: str
    size: tuple[int, int]
    images: str
    scenes: int
    rows: tuple[Measured, ...]
    unmet: dict[str, str]

    def to_json(self) -> str:
        """Everything, for other programs."""
        return json.dumps(
            {
                "name": self.name,
                "size": self.size,
                "images": self.images,
                "scenes": self.scenes,
                "rows": [_plain(row) for row in self.rows],
                "not_met": self.unmet,
            },
            indent=2,
        )


def compression_report(stack: DepthStack, asked: Asked) -> CompressionReport:
    """Make, run and score a file for every recipe; one that cannot be made is told with the reason.

    Args:
        stack: Or a learner, on the CPU.
        asked: What to make.

    Raises:
        ValueError: A recipe is unknown, a learner has no network, or there are no images.
    """
    if stack.network.imported:
        raise ValueError(f"{stack.header.name}: {', '.join(stack.network.imported)} was imported and has no network")
    names = with_baselines(asked.recipes)
    frames = GateFrames(stack, asked.images, asked.count)
    network = stack.network.flip_averaging(False).in_full_precision()
    size = rounded_up(stack.trained_size)
    with tempfile.TemporaryDirectory() as folder:
        leaving = Leaving(network, size, torch.uint8)
        images = frames.at(size)
        calibrating = [image.pixels.numpy() for image in images[:: max(1, len(images) // MOST_CALIBRATED)]]
        work = Workplace(stack, leaving, size, calibrating[:MOST_CALIBRATED], Path(folder), asked.steps)
        files, unmet = _files(work, names)
        rows = _measured(files, images, frames.scenes, asked.rounds)
    return CompressionReport(stack.header.name, size, frames.what, len(set(frames.scenes)), tuple(rows), unmet)


@dataclass(frozen=True)
class _File:
    recipe: str
    runtime: str
    path: Path
    made: Made
    run: Run


def _files(work: Workplace, names: Sequence[str]) -> tuple[list[_File], dict[str, str]]:
    files: list[_File] = []
    unmet: dict[str, str] = {}
    for name in names:
        recipe, number = recipe_of(name)
        path = work.folder / f"{name}{'.onnx' if recipe.runtime == 'onnx' else '.xml'}"
        messages.print(f"{name}: making its file")
        try:
            made = recipe.make(work, number)
            write(work, recipe, made, path)
            files.append(_File(name, recipe.runtime, path, made, RUNTIMES[recipe.runtime](path, 1).run))
        except (ValueError, RuntimeError, NotImplementedError) as error:
            if name == "fp32":
                raise
            unmet[name] = " ".join(str(error).split())[:300]
    known = {file.recipe for file in files}
    for file in [file for file in files if BASELINES[file.runtime] not in known]:
        files.remove(file)
        unmet[file.recipe] = f"{BASELINES[file.runtime]}, which it is held against, could not be made"
    return files, unmet


def _measured(
    files: Sequence[_File], images: Sequence[GateImage], scenes: Sequence[str], rounds: int
) -> list[Measured]:
    first = images[0].pixels.numpy()
    times = timed_in_turn(
        {file.recipe: partial(file.run, first) for file in files},
        {file.recipe: BASELINES[file.runtime] for file in files},
        rounds=rounds,
    )
    plain = depths_of(files[0].run, images)
    base = judged(plain, plain, images)
    own = [
        scene
        for scene, image in zip(scenes, images, strict=bool(scenes))
        if image.valid is not None and bool(image.valid.any())
    ]
    rows = []
    for file in files:
        found = base if file is files[0] else judged(depths_of(file.run, images), plain, images)
        rows.append(
            Measured(
                recipe=file.recipe,
                runtime=file.runtime,
                weight=weighed(file.path),
                nonzero=nonzero_weights(file.runtime, file.path),
                mul_adds=file.made.mul_adds,
                time=times[file.recipe],
                peak_megabytes=peak_megabytes(file.runtime, file.path),
                means=dict(zip(TABLE_METRICS, found.scores.mean(axis=0).tolist(), strict=True)) if own else {},
                against={} if file is files[0] else _against(file.recipe, found, base, own),
                mean_gap=found.mean_gap,
                note=file.made.note,
            )
        )
    return rows


def _against(name: str, found: Judged, base: Judged, scenes: Sequence[str]) -> dict[str, Difference]:
    """A recipe minus the plain file on every metric, with intervals over scenes; nothing of fewer than two."""
    if len(set(scenes)) < 2:
        return {}
    differences = paired_differences(
        np.stack([found.scores, base.scores]),
        scenes,
        rows=(name, "fp32"),
        metrics={metric: METRICS[metric].higher_is_better for metric in TABLE_METRICS},
    )
    return {each.metric: each for each in differences}


def _plain(row: Measured) -> dict[str, Any]:
    against = {name: {"difference": d.difference, "low": d.low, "high": d.high} for name, d in row.against.items()}
    told = row._asdict()
    return {**told, "weight": row.weight._asdict(), "time": row.time._asdict(), "against": against}
