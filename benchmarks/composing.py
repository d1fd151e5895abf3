"""What choosing a composition takes of the processor and of memory, with planted rows of many candidates."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import yaml

from benchmarks.spent import REPOSITORY, spent
from benchmarks.tables import Table, Target, write_section
from ensemble.data import open_source
from ensemble.data.division import Experiment, open_experiment
from ensemble.data.source import Frame
from ensemble.data.splits import training_frames
from ensemble.data.transforms import bring_to_size
from ensemble.predictions.learners import trained_learner
from ensemble.predictions.predict import open_predictions, writer_of
from ensemble.runs.paths import FULL, Outputs, fold_model
from ensemble.settings.layers import Choice, data_settings
from ensemble.settings.schema import DataSettings

EXPERIMENT, FIRST = "composing", "candidate-00"
SECONDS, MEGABYTES = 60, 1000
"""What it may take with 30 candidates and 572 images of 96x128 pixels."""


def main(
    root: Annotated[Path | None, typer.Option(help="A copy of NYU Depth v2. Default: generated rooms.")] = None,
    scenes: Annotated[int, typer.Option(min=5, help="Generated scenes, of six frames each.")] = 12,
    candidates: Annotated[int, typer.Option(min=2, help="Learners with out-of-fold rows.")] = 30,
) -> None:
    """Measures ``meta compose`` with two budgets and writes its section."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        config = _config(folder, root, scenes)
        frames = _plant(folder, config, candidates)
        budgets = ("--budget", "500ms", "--budget", "10M", "--out", str(folder / "set.yaml"))
        took = spent(("-m", "ensemble.meta", "compose", *budgets, *_given(folder, config)), REPOSITORY)
    timed = spent(("-m", "ensemble.base", "profile", "ldrn", "--size", "96x128"), REPOSITORY)
    met = took.seconds < SECONDS and took.megabytes < MEGABYTES
    what = f"`meta compose` on {frames} images of 96x128 with {candidates} candidates"
    measured = f"{took.seconds:.1f} s of the processor, {took.megabytes:.0f} MB"
    rows = [
        ("compose, rows of all candidates", f"{took.seconds:.1f}", f"{took.megabytes:.0f}"),
        ("`base profile ldrn`: timing one more network", f"{timed.seconds:.1f}", f"{timed.megabytes:.0f}"),
    ]
    write_section(
        "composing",
        "Compositions",
        targets=[Target(what, f"under {SECONDS} s and {MEGABYTES} MB", measured, met)],
        parts=[Table(("command", "processor, s", "peak MB"), rows)],
    )


def _config(folder: Path, root: Path | None, scenes: int) -> Path:
    data = {"size": [96, 128], "crop": None, "test": "held-out", "folds": 5}
    kind = {"kind": "rooms", "rooms": {"scenes": scenes}, "test": "official"}
    if root is not None:
        kind = {"kind": "nyu", "root": str(root.resolve())}
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"experiment": EXPERIMENT, "data": {**data, **kind}}), encoding="utf-8")
    return config


def _given(folder: Path, config: Path) -> tuple[str, ...]:
    return "--config", str(config), "--cache-dir", str(folder / "cache")


def _plant(folder: Path, config: Path, candidates: int) -> int:
    """One imported learner, and copies of it that err at other places; returns the number of frames to fit."""
    data = data_settings(Choice(config=config))
    known = training_frames(open_source(data), data)
    for name, depth in _maps(data, (*known.fit, *known.validation)):
        path = folder / "maps" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, depth)
    for role in ("oof", "validation"):
        words = ("-m", "ensemble.base", "import", FIRST, str(folder / "maps"), "--role", role)
        spent((*words, *_given(folder, config)), REPOSITORY)
    outputs = Outputs(folder / "cache")
    experiment = open_experiment(outputs, trained_learner(outputs, EXPERIMENT, FIRST).settings)
    for index in range(1, candidates):
        _copy(experiment, f"candidate-{index:02d}", np.random.default_rng(index))
    return len(known.fit)


def _maps(data: DataSettings, frames: tuple[Frame, ...]) -> Iterator[tuple[str, np.ndarray]]:
    rng, source = np.random.default_rng(0), open_source(data)
    for frame in frames:
        truth = bring_to_size(source.read(frame), data.size)["depth"][0].numpy()
        wrong = np.exp(rng.normal(0, 0.1) + rng.normal(0, 0.1, truth.shape))
        yield frame.id, np.clip(np.where(truth > 0, truth, 2.0) * wrong, 0.3, 9.5).astype(np.float32)


def _copy(experiment: Experiment, name: str, rng: np.random.Generator) -> None:
    """The runs and the rows of a further candidate."""
    outputs = experiment.outputs
    for model in (FULL, *map(fold_model, range(experiment.division.folds.count))):
        run, first = (outputs.learner_run(EXPERIMENT, each, model) for each in (name, FIRST))
        shutil.copytree(first.folder, run.folder, ignore=shutil.ignore_patterns("*.sha256"))
        for path, changes in ((run.settings, {"learner": name}), (run.result, {"seal": None})):
            kept = {**json.loads(path.read_text("utf-8")), **changes}
            path.write_text(json.dumps({key: value for key, value in kept.items() if key != "seal"}), encoding="utf-8")
    error = np.exp(rng.normal(0, 0.05, (96, 128)))
    for fold in range(experiment.division.folds.count):
        own, first = (trained_learner(outputs, EXPERIMENT, each, fold_model(fold)) for each in (name, FIRST))
        frames = experiment.division.of_role("oof", fold)
        rows = open_predictions(first, experiment, frames, "oof")
        with writer_of(own, experiment, frames, "oof", rebuild=False) as store:
            for frame in frames:
                wrong = rows.read(frame.id) * np.roll(error, int(rng.integers(96)), axis=0)
                store.append(frame.id, np.clip(wrong, 0.3, 9.5).astype(np.float32))


if __name__ == "__main__":
    typer.run(main)
