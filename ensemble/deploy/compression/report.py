"""The compression report: every recipe made, run beside the plain file, scored, and told as it is.

A recipe that fails, wherever it does, is told with the reason and leaves the others as they are.
"""

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
from ensemble.deploy.compression.counting import nonzero_weights
from ensemble.deploy.compression.measuring import Judged, Measured, Weighed, depths_of, judged, timed_in_turn, weighed
from ensemble.deploy.compression.memory import peak_megabytes
from ensemble.deploy.compression.names import check_recipes
from ensemble.deploy.compression.recipes import BASELINES, Made, Workplace, recipe_of, with_baselines, write
from ensemble.deploy.door import DepthStack
from ensemble.deploy.export.frames import GateFrames, GateImage
from ensemble.deploy.export.module import Leaving
from ensemble.deploy.export.write import rounded_up
from ensemble.deploy.runtime.session import Run
from ensemble.deploy.runtime.sessions import RUNTIMES
from ensemble.metrics.formulas import METRICS, TABLE_METRICS
from ensemble.metrics.statistics import Difference, paired_differences
from ensemble.runs.stopping import stop_within

MOST_LETTERS = 400
"""Of the reason why there is no row of a recipe."""


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
        calibrated: Images whose activations have told ranges of 8 bits, in words.
    """

    name: str
    size: tuple[int, int]
    images: str
    scenes: int
    rows: tuple[Measured, ...]
    unmet: dict[str, str]
    calibrated: str

    def to_json(self) -> str:
        """Everything, for other programs."""
        return json.dumps(
            {
                "name": self.name,
                "size": self.size,
                "images": self.images,
                "scenes": self.scenes,
                "calibrated": self.calibrated,
                "rows": [_plain(row) for row in self.rows],
                "not_met": self.unmet,
            },
            indent=2,
        )


def compression_report(stack: DepthStack, asked: Asked) -> CompressionReport:
    """Make, run and score a file for every recipe; one that fails is told with the reason.

    Args:
        stack: Or a learner, on the CPU.
        asked: What to make.

    Raises:
        ValueError: A recipe is unknown, a learner has no network, there are no images, or ``fp32`` itself fails.
    """
    if stack.network.imported:
        raise ValueError(f"{stack.header.name}: {', '.join(stack.network.imported)} was imported and has no network")
    check_recipes(asked.recipes, asked.steps)
    names = with_baselines(asked.recipes)
    frames = GateFrames(stack, asked.images, asked.count)
    network = stack.network.flip_averaging(False).in_full_precision()
    size = rounded_up(stack.trained_size)
    with tempfile.TemporaryDirectory() as folder:
        leaving = Leaving(network, size, torch.uint8)
        images = frames.at(size)
        calibrating, calibrated = frames.to_calibrate(size)
        work = Workplace(
            stack, leaving, size, [image.pixels.numpy() for image in calibrating], Path(folder), asked.steps
        )
        files, unmet = _files(work, names, images)
        rows = _measured(files, images, frames.scenes, asked.rounds)
    scenes = len(set(frames.scenes))
    return CompressionReport(stack.header.name, size, frames.what, scenes, tuple(rows), unmet, calibrated)


@dataclass(frozen=True)
class _File:
    """A file that has run on every image, with what is known of it alone."""

    recipe: str
    runtime: str
    made: Made
    run: Run
    weight: Weighed
    nonzero: int
    peak_megabytes: float
    judged: Judged


def _files(work: Workplace, names: Sequence[str], images: Sequence[GateImage]) -> tuple[list[_File], dict[str, str]]:
    """Files by recipe, ``fp32`` first, and why there is none of the others."""
    files: list[_File] = []
    unmet: dict[str, str] = {}
    plain: list[np.ndarray] = []
    for name in names:
        baseline = BASELINES[recipe_of(name)[0].runtime]
        if baseline in unmet:
            unmet[name] = f"{baseline}, which it is held against, could not be made"
            continue
        messages.print(f"{name}: making its file")
        try:
            file, depths = _file(work, name, images, plain)
        except Exception as error:  # whatever a recipe, its packages and its runtime make of a network
            if name == "fp32" or stop_within(error) is not None:
                raise
            told = " ".join(str(error).split())[:MOST_LETTERS]
            unmet[name] = told if isinstance(error, ValueError | ArithmeticError) else f"{type(error).__name__}: {told}"
            continue
        files.append(file)
        plain = plain or depths
    return files, unmet


def _file(
    work: Workplace, name: str, images: Sequence[GateImage], plain: Sequence[np.ndarray]
) -> tuple[_File, list[np.ndarray]]:
    """The file of a recipe and its depth, which is judged beside ``plain``, or beside itself where there is none."""
    recipe, number = recipe_of(name)
    path = work.folder / f"{name}{'.onnx' if recipe.runtime == 'onnx' else '.xml'}"
    made = recipe.make(work, number)
    write(work, recipe, made, path)
    run = RUNTIMES[recipe.runtime](path, 1).run
    depths = depths_of(run, images)
    found = judged(depths, plain or depths, images)
    costs = (weighed(path), nonzero_weights(recipe.runtime, path), peak_megabytes(recipe.runtime, path))
    return _File(name, recipe.runtime, made, run, *costs, found), depths


def _measured(
    files: Sequence[_File], images: Sequence[GateImage], scenes: Sequence[str], rounds: int
) -> list[Measured]:
    first, base = images[0].pixels.numpy(), files[0].judged
    times = timed_in_turn(
        {file.recipe: partial(file.run, first) for file in files},
        {file.recipe: BASELINES[file.runtime] for file in files},
        rounds=rounds,
    )
    own = [
        scene
        for scene, image in zip(scenes, images, strict=bool(scenes))
        if image.valid is not None and bool(image.valid.any())
    ]
    return [
        Measured(
            recipe=file.recipe,
            runtime=file.runtime,
            weight=file.weight,
            nonzero=file.nonzero,
            mul_adds=file.made.mul_adds,
            time=times[file.recipe],
            peak_megabytes=file.peak_megabytes,
            means=dict(zip(TABLE_METRICS, file.judged.scores.mean(axis=0).tolist(), strict=True)) if own else {},
            against={} if file is files[0] else _against(file.recipe, file.judged, base, own),
            mean_gap=file.judged.mean_gap,
            note=file.made.note,
        )
        for file in files
    ]


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
