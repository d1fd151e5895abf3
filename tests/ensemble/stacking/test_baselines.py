"""Baselines: what is chosen and fitted on which rows, and that every rung is scored."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from command_lines import LEARNER_NAMES, Answer, Job, done

from ensemble.data import open_source
from ensemble.data.division import Experiment, division_of, open_experiment
from ensemble.data.held_out import test_frames as scored_frames
from ensemble.data.source import Frame, FrameSource
from ensemble.evaluation.bounds import BOUNDS
from ensemble.evaluation.results.scores import headroom, read_scores
from ensemble.predictions.learners import TrainedLearner, trained_learner
from ensemble.predictions.predict import identity_of, open_predictions
from ensemble.predictions.store import PredictionWriter
from ensemble.runs.paths import Outputs, fold_model
from ensemble.settings.layers import Choice, learner_settings
from ensemble.stacking import baselines
from ensemble.stacking.baselines import fit_baselines
from ensemble.stacking.training_rows import TrainingRow
from meta.combiners import depth_range, inverse_variance, weighted_log_mean

SIZE = (32, 48)
RUNGS = ["best-single", "mean", "median", "log-mean", "inverse-variance", "weighted-log-mean", "depth-range"]


def row_of(name: str, depths: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> TrainingRow:
    maps, truth = torch.from_numpy(depths).float()[None], torch.from_numpy(target).float()[None, None]
    mask = truth > 0 if valid is None else torch.from_numpy(valid)[None, None]
    return TrainingRow(Frame(f"{name}/0", name, "train"), torch.zeros(1, 3, *SIZE), maps, truth, mask)


def climbed(
    monkeypatch: pytest.MonkeyPatch,
    job: Job,
    rows: list[TrainingRow],
    *,
    folds: tuple[int, ...] = (0, 1),
    crop: str = "none",
):
    """Climb over rows made by hand; only the names of learners, and whether they have folds, matter then."""
    asked: list[str] = []

    def given(learners: Any, outputs: Any, settings: Any, role: str) -> list[TrainingRow]:
        asked.append(role)
        return rows

    monkeypatch.setattr(baselines, "training_rows", given)
    assigned = [f"data.size={list(SIZE)}", "data.crop=null", f"evaluation.crop={crop}"]
    settings = learner_settings("bts", Choice(config=job.config, assignments=assigned))
    learners = [SimpleNamespace(name=name, folds=folds) for name in ("a", "b", "c")]
    found = fit_baselines(learners, Outputs(Path("nowhere")), settings)  # type: ignore[arg-type]
    assert asked == [found.rows]
    return found


def depths_of(target: np.ndarray, *factors: float) -> np.ndarray:
    return np.stack([factor * target for factor in factors])


def test_the_best_single_learner_has_the_smallest_mean_relative_error_over_frames(
    monkeypatch: pytest.MonkeyPatch, job: Job
):
    rng = np.random.default_rng(0)
    near, far = rng.uniform(1, 2, SIZE), rng.uniform(4, 6, SIZE)
    nothing = row_of("empty", depths_of(near, 9.0, 1.0, 9.0), near, np.zeros(SIZE, dtype=bool))
    rows = [row_of("near", depths_of(near, 1.1, 0.8, 1.2), near), nothing]
    rows.append(row_of("far", depths_of(far, 1.3, 0.9, 1.25), far))
    found = climbed(monkeypatch, job, rows)
    assert found.best == "b"
    assert found.scores == pytest.approx({"a": 0.2, "b": 0.15, "c": 0.225}, rel=1e-4)
    rows.append(row_of("more", depths_of(far, 1.05, 1.5, 1.2), far))
    found = climbed(monkeypatch, job, rows)
    assert found.best == "a"
    assert found.scores == pytest.approx({"a": 0.45 / 3, "b": 0.8 / 3, "c": 0.65 / 3}, rel=1e-4)


def test_a_frame_whose_truth_lies_outside_of_the_crop_chooses_nothing(monkeypatch: pytest.MonkeyPatch, job: Job):
    near = np.random.default_rng(0).uniform(1, 2, SIZE)
    edge = np.zeros(SIZE, dtype=bool)
    edge[0] = True  # the Eigen crop begins below
    rows = [row_of("good", depths_of(near, 1.5, 1.2, 1.01), near), row_of("edge", depths_of(near, 1, 3, 9), near, edge)]
    found = climbed(monkeypatch, job, rows, crop="eigen")
    assert found.best == "c"
    assert found.scores == pytest.approx({"a": 0.5, "b": 0.2, "c": 0.01}, rel=1e-4)


def test_combiners_are_those_of_a_direct_fit_to_the_valid_pixels(monkeypatch: pytest.MonkeyPatch, job: Job):
    monkeypatch.setattr("ensemble.stacking.training_rows.PIXELS_PER_FRAME", SIZE[0] * SIZE[1])
    rng = np.random.default_rng(1)
    rows, pixels, truth = [], [], []
    for index in range(3):
        target = rng.uniform(1, 9, SIZE)
        depths = target * np.exp(rng.normal(0, [[[0.05]], [[0.2]], [[0.3]]], (3, *SIZE)))
        valid = rng.random(SIZE) < 0.9
        depths[:, ~valid] = 77.0
        rows.append(row_of(str(index), depths.clip(max=90), target, valid))
        pixels.append(depths[:, valid].T.astype(np.float32))
        truth.append(target[valid].astype(np.float32))
    found = climbed(monkeypatch, job, rows).combiners
    columns, target = np.concatenate(pixels), np.concatenate(truth)
    assert list(found) == ["inverse-variance", "weighted-log-mean", "depth-range"]
    for name, fit in {"inverse-variance": inverse_variance, "weighted-log-mean": weighted_log_mean}.items():
        assert found[name].weights == pytest.approx(fit(columns, target).weights, rel=1e-5)
    by_range = depth_range(columns, target)
    assert found["depth-range"].centres == pytest.approx(by_range.centres, rel=1e-5)
    assert np.array(found["depth-range"].weights) == pytest.approx(np.array(by_range.weights), abs=1e-4)
    squared = np.square(columns.astype(np.float64) / target[:, None] - 1).mean(axis=0)
    assert found["inverse-variance"].weights == pytest.approx((1 / squared) / (1 / squared).sum(), rel=1e-4)
    assert found["weighted-log-mean"].weights[0] > 0.8


def test_every_frame_has_the_same_say_in_fitted_weights(monkeypatch: pytest.MonkeyPatch, job: Job):
    """A frame with few valid pixels gives them all, a full one a sample: no more than ``PIXELS_PER_FRAME``."""
    monkeypatch.setattr("ensemble.stacking.training_rows.PIXELS_PER_FRAME", 40)
    seen: list[int] = []
    monkeypatch.setattr(baselines, "FITTED_COMBINERS", {"count": lambda depths, target: seen.append(len(target))})
    rng = np.random.default_rng(2)
    target = rng.uniform(1, 9, SIZE)
    few = np.zeros(SIZE, dtype=bool)
    few[0, :7] = True
    depths = depths_of(target, 1.0, 1.1, 1.2)
    climbed(monkeypatch, job, [row_of("full", depths, target), row_of("few", depths, target, few)])
    assert seen == [40 + 7]


def test_without_folds_the_rows_are_those_of_validation_and_said_to_be(monkeypatch: pytest.MonkeyPatch, job: Job):
    target = np.random.default_rng(3).uniform(1, 9, SIZE)
    rows = [row_of("one", depths_of(target, 1.0, 1.1, 1.2), target)]
    assert climbed(monkeypatch, job, rows).rows == "oof"
    assert climbed(monkeypatch, job, rows, folds=()).rows == "validation"


def test_without_a_valid_pixel_nothing_is_chosen(monkeypatch: pytest.MonkeyPatch, job: Job):
    target = np.ones(SIZE)
    rows = [row_of("one", depths_of(target, 1.0, 1.1, 1.2), target, np.zeros(SIZE, dtype=bool))]
    with pytest.raises(ValueError, match="tiny: no oof frame has a valid pixel to score"):
        climbed(monkeypatch, job, rows)


@dataclass(frozen=True)
class Turned:
    """AdaBins knows the training frames it never saw, LDRN the test frames."""

    cache: Path
    first: Answer
    scores: dict[str, Any]
    again: dict[str, Any]


@pytest.fixture(scope="module")
def turned(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Turned:
    cache = job.copy_to(tmp_path_factory.mktemp("turned"))
    where = Outputs(cache)
    data = trained_learner(where, "tiny", "bts").settings.data
    source = open_source(data)
    division = division_of(where, "tiny", source, data)
    for fold in (0, 1):
        model = trained_learner(where, "tiny", "adabins", fold_model(fold))
        write_rows(where, model, source, "oof", division.of_role("oof", fold), lambda truth: 1.01 * truth)
    tested = trained_learner(where, "tiny", "ldrn")
    write_rows(where, tested, source, "test", scored_frames(source, data), lambda truth: truth)
    first = done("meta", "evaluate", "meta-d", "--json", "--cache-dir", cache)
    command = first.err[first.err.index("Run: python -m ensemble.base") :]
    done(*Answer(0, "", command[: command.index("\n")]).advised)
    again = done("meta", "evaluate", "meta-d", "--json", "--cache-dir", cache)
    assert "no row seed-mean" not in again.err
    return Turned(cache, first, json.loads(first.out), json.loads(again.out))


def write_rows(
    where: Outputs,
    model: TrainedLearner,
    source: FrameSource,
    role: Any,
    frames: tuple[Frame, ...],
    depth_of: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Put other depth in the place of a model's rows."""
    experiment = open_experiment(where, model.settings)
    identity = identity_of(model, experiment, frames, role)
    folder, size = where.predictions("tiny", model.name, role, model.model), model.settings.data.size
    names = [frame.id for frame in frames]
    with PredictionWriter(folder, identity, names, size=size, max_depth=10.0, rebuild=True, mend="") as writer:
        for frame in frames:
            writer.append(frame.id, np.float32(depth_of(source.read(frame).depth)).clip(0, 10))


def rows_of(scores: dict[str, Any]) -> dict[str, Any]:
    return {row["name"]: row for row in scores["rows"]}


def test_every_rung_is_scored_between_learners_and_bounds(job: Job):
    names = [row["name"] for row in job.scores["rows"]]
    stacks = ["meta-d", "meta-rgb", "meta-rgb+d"]
    assert names == ["mean log depth", *LEARNER_NAMES, *RUNGS, *stacks, *BOUNDS]
    kinds = {row["name"]: row["kind"] for row in job.scores["rows"]}
    fitted = {"inverse-variance", "weighted-log-mean", "depth-range"}
    assert {name for name, kind in kinds.items() if kind == "fitted"} == fitted
    assert {name for name, kind in kinds.items() if kind == "bound"} == set(BOUNDS)


def test_a_stack_says_how_it_did_on_the_validation_scenes(job: Job):
    for row in job.scores["rows"]:
        result = job.cache / "runs" / "tiny" / row["name"] / "result.json"
        own = json.loads(result.read_text())["best"] if row["kind"] == "stack" else None
        assert row["validation_rel"] == own, row["name"]


def test_the_best_single_learner_is_chosen_out_of_fold_and_not_on_test(turned: Turned):
    rows = rows_of(turned.scores)
    assert rows["ldrn"]["scores"]["abs_rel"] < 1e-3 < rows["adabins"]["scores"]["abs_rel"]
    assert rows["best-single"]["scores"] == rows["adabins"]["scores"]
    assert rows["best-single"]["title"] == "best single (AdaBins)"
    assert rows["best-single"]["note"] == "chosen on out-of-fold rows"


def test_a_stack_of_in_sample_rows_stands_beside_the_same_ladder(job: Job, turned: Turned):
    """Rungs are chosen and fitted out of fold although the stack itself reads none of those rows."""
    done("meta", "fit", "--inputs", "d", "--rows", "fit", "--config", job.config, "--cache-dir", turned.cache)
    found = rows_of(json.loads(done("meta", "evaluate", "meta-d-fit", "--json", "--cache-dir", turned.cache).out))
    for name in ("best-single", "inverse-variance", "weighted-log-mean", "depth-range"):
        assert found[name]["scores"] == rows_of(turned.again)[name]["scores"], name
        assert "out-of-fold rows" in found[name]["note"]


def test_fitted_weights_follow_out_of_fold_rows_and_not_test(turned: Turned):
    rows = rows_of(turned.scores)
    for name in ("inverse-variance", "weighted-log-mean", "depth-range"):
        assert rows[name]["note"] == "fitted to out-of-fold rows"
    learner = rows["adabins"]["scores"]["abs_rel"]
    assert rows["weighted-log-mean"]["scores"]["abs_rel"] == pytest.approx(learner, rel=0.05)


def test_the_mean_of_seeds_is_there_once_its_models_are(turned: Turned):
    said = turned.first.err
    assert "no row seed-mean: 3 seeds of the best single learner cost as much as 3 learners." in said
    assert re.search(
        r"Run: python -m ensemble\.base train adabins --seeds 1,2 --resume \S+/adabins/full --cache-dir", said
    )
    assert "seed-mean" not in rows_of(turned.scores)
    rows = rows_of(turned.again)
    assert [name for name in rows if name in (*RUNGS, "seed-mean")] == [RUNGS[0], "seed-mean", *RUNGS[1:]]
    assert rows["seed-mean"]["title"] == "mean of 3 seeds of AdaBins"
    assert rows["seed-mean"]["note"] == "3 full fits, the cost of 3 learners"
    assert rows["seed-mean"]["parameters"] == 3 * rows["adabins"]["parameters"]
    where = Outputs(turned.cache)
    models = [trained_learner(where, "tiny", "adabins", model) for model in ("full", "seed-1", "seed-2")]
    assert [model.settings.seed for model in models] == [0, 1, 2]
    assert len({model.weights for model in models}) == 3
    for row in (row for row in rows if row != "seed-mean"):
        assert rows[row]["scores"] == rows_of(turned.scores)[row]["scores"], row


def test_the_score_of_the_mean_of_seeds_is_that_of_their_mean(turned: Turned):
    where = Outputs(turned.cache)
    models = [trained_learner(where, "tiny", "adabins", model) for model in ("full", "seed-1", "seed-2")]
    data = models[0].settings.data
    source = open_source(data)
    frames, errors = scored_frames(source, data), []
    experiment = Experiment(where, "tiny", source, division_of(where, "tiny", source, data))
    readers = [open_predictions(model, experiment, frames, "test") for model in models]
    for frame in frames:
        depth = np.mean([reader.read(frame.id).astype(np.float64) for reader in readers], axis=0)
        truth = source.read(frame).depth.astype(np.float64)
        errors.append(np.mean(np.abs(depth - truth) / truth))
    assert rows_of(turned.again)["seed-mean"]["scores"]["abs_rel"] == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize(("metric", "sign"), [("abs_rel", 1), ("rmse", 1), ("d1", -1)])
def test_the_share_of_head_room_is_that_of_the_scores(turned: Turned, metric: str, sign: int):
    rows = {name: row["scores"][metric] for name, row in rows_of(turned.again).items()}
    scores = read_scores(turned.cache / "runs/tiny/meta-d/scores.json")
    shares = headroom(scores, metric)
    room = sign * (rows["mean"] - rows["weights per image"])
    assert room > 0
    for name, value in rows.items():
        assert shares[name] == pytest.approx(sign * (rows["mean"] - value) / room, abs=1e-9), name
    assert shares["mean"] == 0
    assert shares["weights per image"] == 1
    of_convex = headroom(scores, metric, bound="oracle convex")
    assert 0 < of_convex["oracle pick"] <= of_convex["oracle convex"] == 1
