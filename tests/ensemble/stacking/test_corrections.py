"""A stack that corrects, from fit to saved file: planted errors of whole images, and none."""

import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_lines import TINY, Job, call, done

from ensemble.data.division import open_experiment
from ensemble.data.held_out import test_frames as scored_frames
from ensemble.data.source import Frame
from ensemble.deploy.loading import load
from ensemble.predictions.learners import TrainedLearner, trained_learner
from ensemble.predictions.predict import identity_of
from ensemble.predictions.store import PredictionWriter
from ensemble.runs.paths import Outputs
from ensemble.stacking.stack import load_stack

CORRECT = ("--inputs", "d", "--set", "network.weights=correct")
LEARNERS = ("adabins", "bts")


@pytest.fixture(scope="module")
def fitted(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = job.copy_to(tmp_path_factory.mktemp("correct"))
    done("meta", "fit", *CORRECT, "--name", "correct", "--config", job.config, "--cache-dir", cache)
    return cache


def test_it_is_scored_beside_the_bar_and_says_what_it_is(fitted: Path):
    found = json.loads(done("meta", "evaluate", "correct", "--json", "--cache-dir", fitted).out)
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["correct"]["title"] == "correct (stack d, correcting)"
    result = json.loads((fitted / "runs/tiny/correct/result.json").read_text())
    assert rows["correct"]["validation_rel"] == result["best"]
    assert set(result["strengths"]) == {"scale", "residual"}
    assert rows["correct"]["scores"]["abs_rel"] == pytest.approx(
        rows["weighted-log-mean"]["scores"]["abs_rel"], rel=0.15
    )
    assert "correct (stack d, correcting)" in done("report", "tiny/correct", "--cache-dir", fitted).err + (
        fitted / "runs/tiny/correct/report.md"
    ).read_text("utf-8")


def test_a_fit_that_was_stopped_goes_on_to_the_same_strengths(fitted: Path, job: Job, tmp_path: Path):
    where = Outputs(fitted)
    whole = load_stack(where.meta_run("tiny", "correct"), where).network.state_dict()
    run = where.meta_run("tiny", "correct")
    before = json.loads(run.result.read_text())
    run.result.unlink()
    done("meta", "fit", "--resume", "tiny/correct", "--cache-dir", fitted)
    again = load_stack(run, where).network.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    assert json.loads(run.result.read_text())["strengths"] == before["strengths"]


def test_a_saved_stack_says_the_same_depth(fitted: Path, tmp_path: Path):
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    own = load("tiny/correct", cache_dir=fitted)
    for place in (tmp_path / "stack.safetensors", tmp_path / "folder"):
        done("meta", "save", "tiny/correct", place, "--cache-dir", fitted)
        read = load(place)
        np.testing.assert_array_equal(read(image).depth, own(image).depth)
        np.testing.assert_array_equal(read(image).weights, own(image).weights)
        assert read(image).error is not None
    maps = {name: read(image).learners[name] for name in read.learners}
    np.testing.assert_allclose(read.fuse(maps, image).depth, own(image).depth, rtol=1e-5)
    with pytest.raises(ValueError, match=r"this stack sees the image as well \(correct\), expected one"):
        read.fuse(maps)


@pytest.mark.parametrize("how", [("--rows", "fit"), ("--training", "joint")])
def test_learners_that_saw_the_frames_are_refused(job: Job, how: tuple[str, str]):
    answer = call("meta", "fit", *CORRECT, *how, "--config", job.config, "--cache-dir", job.cache)
    assert answer.status != 0
    assert "network.weights correct: expected mode frozen and rows oof" in answer.err


def test_what_was_there_before_is_named(fitted: Path, job: Job):
    settings = fitted / "runs/tiny/meta-d/settings.json"
    content = json.loads(settings.read_text())
    content["network"]["weights"] = "softmax+bias"
    (settings.parent / "settings.json.sha256").unlink(missing_ok=True)
    result = settings.parent / "result.json"
    sealed = json.loads(result.read_text())
    sealed.pop("seal")
    result.write_text(json.dumps(sealed))
    settings.write_text(json.dumps(content))
    answer = call("meta", "evaluate", "meta-d", "--cache-dir", fitted)
    assert answer.status != 0
    assert "'softmax+bias' are no longer there" in answer.err
    assert "commit 6199044" in answer.err


@dataclass(frozen=True)
class Planted:
    """An experiment of many small rooms, whose rows are put there by tests."""

    config: Path
    cache: Path

    def scored(self, folder: Path, log_factor: Callable[[np.random.Generator], float]) -> dict[str, Any]:
        """Scores by row, and the result of the correcting stack, where every image has a factor of its own.

        The second learner has twice the factor of the first, so that their difference reveals it.
        """
        cache = shutil.copytree(self.cache, folder / "cache")
        where = Outputs(cache)
        for index, name in enumerate(LEARNERS):
            for model in ("full", "fold-0", "fold-1"):
                self._write(where, trained_learner(where, "planted", name, model), index, log_factor)
        given = ("--config", self.config, "--cache-dir", cache)
        done("meta", "fit", *CORRECT, "--learners", ",".join(LEARNERS), "--name", "correct", *given)
        found = json.loads(done("meta", "evaluate", "correct", "--json", "--cache-dir", cache).out)
        rows = {row["name"]: row["scores"] for row in found["rows"]}
        return {**rows, "result": json.loads(where.meta_run("planted", "correct").result.read_text())}

    def _write(
        self, where: Outputs, model: TrainedLearner, index: int, log_factor: Callable[[np.random.Generator], float]
    ) -> None:
        experiment = open_experiment(where, model.settings)
        fold, division = model.settings.fold, experiment.division
        frames_of: dict[Any, tuple[Frame, ...]]
        if fold is None:
            scored = scored_frames(experiment.source, model.settings.data)
            frames_of = {"validation": division.frames.validation, "test": scored}
        else:
            frames_of = {"oof": division.of_role("oof", fold)}
        for role, frames in frames_of.items():
            identity = identity_of(model, experiment, frames, role)
            folder, size = where.predictions("planted", model.name, role, model.model), model.settings.data.size
            names = [frame.id for frame in frames]
            with PredictionWriter(folder, identity, names, size=size, max_depth=20.0, rebuild=True, mend="") as writer:
                for frame in frames:
                    of_frame = np.random.default_rng(zlib.crc32(frame.id.encode()))
                    log = (1 + index) * log_factor(of_frame)
                    of_pixels = np.random.default_rng([zlib.crc32(frame.id.encode()), index])
                    noise = 0.03 * of_pixels.standard_normal(size)
                    writer.append(frame.id, np.float32(experiment.source.read(frame).depth * np.exp(log + noise)))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted")
    config, cache = folder / "planted.yaml", folder / "cache"
    many = TINY.replace("{scenes: 4, test_scenes: 2, frames: 2}", "{scenes: 36, test_scenes: 6, frames: 3}")
    many = many.replace("experiment: tiny", "experiment: planted").replace("size: [48, 64]", "size: [32, 48]")
    many = many.replace("crop: [48, 64]", "crop: null\n  validation_fraction: 0.25\n  max_depth: 20.0")
    config.write_text(many)
    for name in LEARNERS:
        done("base", "train", name, "--folds", 2, "--config", config, "--cache-dir", cache)
    return Planted(config, cache)


@pytest.mark.slow
def test_a_planted_scale_of_images_is_taken_out(planted: Planted, tmp_path: Path):
    found = planted.scored(tmp_path, lambda rng: 0.1 * rng.standard_normal())
    assert found["result"]["strengths"]["scale"] > 0.7
    assert found["correct"]["abs_rel"] < 0.75 * found["weighted-log-mean"]["abs_rel"]
    assert found["correct"]["d1"] >= found["weighted-log-mean"]["d1"]


@pytest.mark.slow
def test_where_there_is_none_it_is_the_weighted_log_mean(planted: Planted, tmp_path: Path):
    found = planted.scored(tmp_path, lambda rng: 0.0)
    for metric, value in found["weighted-log-mean"].items():
        assert found["correct"][metric] == pytest.approx(value, rel=0.02), metric
    assert found["correct"]["abs_rel"] < 1.01 * found["weighted-log-mean"]["abs_rel"]
