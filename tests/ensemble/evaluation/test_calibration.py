"""What is written about a stack's weights and uncertainty, held against a computation of its own."""

import csv
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from command_lines import Job, done, without_seals
from PIL import Image
from torch import Tensor

from ensemble.data import open_source
from ensemble.data.division import open_experiment
from ensemble.data.held_out import test_frames as scored_frames
from ensemble.data.source import RawFrame
from ensemble.data.transforms import bring_to_size
from ensemble.evaluation import calibration as judging
from ensemble.evaluation.calibration import calibration_of, disagreement_of
from ensemble.evaluation.results.details import read_details
from ensemble.evaluation.results.gallery import read_galleries
from ensemble.evaluation.stack_statistics import StackStatistics
from ensemble.metrics.expected_error import ExpectedError
from ensemble.metrics.protocols import protocol_of
from ensemble.metrics.uncertainty import FRACTIONS, Calibration, calibrate
from ensemble.predictions.level_zero import open_rows
from ensemble.runs.paths import Outputs
from ensemble.stacking.stack import Stack, load_stack, stacked
from ensemble.stacking.training_rows import training_rows
from ensemble.training.networks import weights_fingerprint
from meta.fusion import shares
from meta.weighing import Fused

EDGES = np.logspace(-3, 1, 41)


def stack_named(cache: Path, name: str) -> Stack:
    return load_stack(Outputs(cache).find_run(f"tiny/{name}"), Outputs(cache))


@dataclass(frozen=True)
class Scored:
    """A test frame as one stack meets it, in NumPy and double precision."""

    id: str
    truth: np.ndarray
    depths: np.ndarray
    weights: np.ndarray

    @property
    def fused(self) -> np.ndarray:
        return (self.weights * self.depths).sum(axis=0)

    @property
    def sigma(self) -> np.ndarray:
        return np.sqrt((self.weights * (self.depths - self.fused) ** 2).sum(axis=0))

    @property
    def distance(self) -> np.ndarray:
        return np.abs(self.fused - self.truth)


def frames_seen_by(job: Job, name: str) -> list[Scored]:
    stack, where = stack_named(job.cache, name), Outputs(job.cache)
    source = open_source(stack.settings.data)
    experiment = open_experiment(where, stack.settings)
    frames = scored_frames(source, stack.settings.data)
    rows = [open_rows(learner, experiment, frames, "test") for learner in stack.learners]
    found = []
    for frame in frames:
        raw = source.read(frame)
        assert raw.valid.all()
        depths = np.stack([each.read(frame.id) for each in rows])
        image = bring_to_size(raw, stack.settings.data.size)["image"][None]
        with torch.inference_mode():
            maps = stacked(stack, image, torch.from_numpy(depths)[None]).maps[0].numpy()
        found.append(Scored(frame.id, *(array.astype(np.float64) for array in (raw.depth, depths, maps))))
    return found


def test_the_calibration_is_that_of_out_of_fold_rows(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    where, stack = Outputs(cache), stack_named(cache, "meta-rgb+d")
    stack.run.uncertainty.unlink(missing_ok=True)
    found, squared = [], []
    for row in training_rows(stack.learners, where, stack.settings, "oof"):
        with torch.inference_mode():
            weights = stacked(stack, row.image, row.depths).maps.double()
        depths, target = row.depths.double(), row.target.double()
        fused = (weights * depths).sum(dim=1, keepdim=True)
        found.append((weights * (depths - fused) ** 2).sum(dim=1).sqrt().flatten().numpy())
        squared.append(((fused - target) ** 2).flatten().numpy())
    with mock.patch.object(judging, "PIXELS_PER_FRAME", 10**9):
        calibration = calibration_of(stack, where)
    expected = calibrate(np.concatenate(found), np.concatenate(squared))
    assert calibration.pixels.disagreement == pytest.approx(expected.disagreement, rel=1e-3)
    assert calibration.pixels.squared_error == pytest.approx(expected.squared_error, rel=1e-2)
    kept = json.loads(stack.run.uncertainty.read_text(encoding="utf-8"))
    assert kept["rows"] == "oof"
    assert ExpectedError(Calibration.from_plain(kept["calibration"])) == calibration, (
        "three scenes tell no images apart"
    )


def test_the_calibration_is_computed_once_and_anew_when_weights_change(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    where, stack = Outputs(cache), stack_named(cache, "meta-d")
    first = calibration_of(stack, where)
    written = stack.run.uncertainty.read_bytes()
    with mock.patch.object(judging, "_calibrated", side_effect=AssertionError("computed again")):
        assert calibration_of(stack, where) == first
    assert stack.run.uncertainty.read_bytes() == written
    assert json.loads(written)["weights"] == weights_fingerprint(stack.settings, stack.run)

    given = ("--config", job.config, "--cache-dir", cache)
    done("meta", "fit", "--inputs", "d", *given, "--fresh", "--set", "seed=7")
    anew = stack_named(cache, "meta-d")
    own = stack.run.uncertainty.read_bytes()
    assert json.loads(own)["weights"] == weights_fingerprint(anew.settings, anew.run), "the fit keeps one of its own"
    without_seals(cache)
    stack.run.uncertainty.write_bytes(written)
    assert calibration_of(anew, where) != first
    assert json.loads(stack.run.uncertainty.read_text()) == json.loads(own)
    assert json.loads(stack.run.uncertainty.read_text())["weights"] == weights_fingerprint(anew.settings, anew.run)


def test_a_stack_of_in_sample_rows_is_calibrated_on_validation_scenes(job: Job, tmp_path: Path):
    """Rows of frames that the learners were trained on would promise errors that are too small."""
    cache = job.copy_to(tmp_path)
    done("meta", "fit", "--inputs", "d", "--rows", "fit", "--config", job.config, "--cache-dir", cache)
    stack = stack_named(cache, "meta-d-fit")
    assert json.loads(stack.run.uncertainty.read_text(encoding="utf-8"))["rows"] == "validation"
    stack.run.uncertainty.unlink()
    asked: list[str] = []

    def rows(*words, **given):
        asked.append(words[3])
        return training_rows(*words, **given)

    with mock.patch.object(judging, "training_rows", rows):
        calibration_of(stack, Outputs(cache))
    assert asked == ["validation"]
    assert json.loads(stack.run.uncertainty.read_text(encoding="utf-8"))["rows"] == "validation"


@pytest.mark.parametrize("name", ["meta-d", "meta-rgb+d"])
def test_details_tell_the_weights_of_every_pixel(job: Job, name: str):
    found = read_details(job.cache / "reports/tiny/details.json").stacks[name].weights
    frames = frames_seen_by(job, name)
    assert found.learners == ("AdaBins", "BTS", "LDRN")
    weights = np.concatenate([frame.weights.reshape(3, -1) for frame in frames], axis=1)
    depth = np.concatenate([frame.truth.ravel() for frame in frames])
    for index in range(3):
        counts = np.histogram(weights[index], bins=20, range=(0, 1))[0]
        assert np.abs(counts - np.array(found.counts[index])).sum() <= 4, "but for roundings on an edge"
    assert (found.below, found.above) == ((0, 0, 0), (0, 0, 0))
    edges = np.array(found.depth_edges)
    for place, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (depth >= low) & (depth < high)
        assert found.pixels[place] == inside.sum()
        for index in range(3):
            mean = found.mean_weights[index][place]
            assert mean is None if not inside.any() else mean == pytest.approx(weights[index][inside].mean(), rel=1e-5)


def area(error: np.ndarray, ranking: np.ndarray, *, root: bool) -> float:
    """Area below the error of the pixels that are left when those of highest rank go first."""
    order, curve = np.argsort(ranking, kind="stable"), []
    for fraction in FRACTIONS:
        kept = error[order][: len(error) - int(fraction * len(error) + 1e-9)].mean()
        curve.append(np.sqrt(kept) if root else kept)
    return float(np.trapezoid(curve, FRACTIONS))


def test_details_tell_how_well_disagreement_ranks_errors(job: Job):
    found = read_details(job.cache / "reports/tiny/details.json").stacks["meta-rgb"].uncertainty
    assert found is not None
    frames = frames_seen_by(job, "meta-rgb")
    for metric, root in (("rmse", True), ("abs_rel", False)):
        ause, aurg = [], []
        for frame in frames:
            error = (frame.distance**2 if root else frame.distance / frame.truth).ravel()
            by_sigma, best = (area(error, rank.ravel(), root=root) for rank in (frame.sigma, error))
            everything = np.sqrt(error.mean()) if root else error.mean()
            ause.append(by_sigma - best)
            aurg.append(everything * FRACTIONS[-1] - by_sigma)
        curves = found.sparsification[metric]
        assert curves.ause == pytest.approx(np.mean(ause), rel=1e-3)
        assert curves.aurg == pytest.approx(np.mean(aurg), rel=1e-3, abs=1e-4)
        assert curves.ause > 0


def test_details_tell_predicted_against_observed_errors(job: Job):
    details = read_details(job.cache / "reports/tiny/details.json").stacks["meta-d"].uncertainty
    assert details is not None
    found, frames = details.reliability, frames_seen_by(job, "meta-d")
    kept = json.loads((job.cache / "runs/tiny/meta-d/uncertainty.json").read_text(encoding="utf-8"))
    knots, squares = (kept["calibration"][name] for name in ("disagreement", "squared_error"))
    expected = np.concatenate([np.interp(frame.sigma, knots, squares).ravel() for frame in frames])
    squared = np.concatenate([frame.distance.ravel() ** 2 for frame in frames])
    assert sum(found.pixels) == len(squared)
    shares = np.array(found.pixels) / len(squared)
    assert (shares * np.square(found.observed)).sum() == pytest.approx(squared.mean(), rel=1e-4)
    assert (shares * np.square(found.predicted)).sum() == pytest.approx(expected.mean(), rel=1e-4)
    bins = np.digitize(np.sqrt(expected), EDGES)
    gap = [
        inside.mean() * abs(1 - np.sqrt(squared[inside].mean() / expected[inside].mean()))
        for inside in (bins == place for place in np.unique(bins))
    ]
    assert found.ence == pytest.approx(sum(gap), rel=1e-2)


def test_the_gallery_shows_the_best_the_median_and_the_worst_frame(job: Job):
    galleries = {each.stack: each for each in read_galleries(job.cache / "reports/tiny/gallery.npz")}
    assert list(galleries) == ["meta-d", "meta-rgb", "meta-rgb+d"]
    gallery = galleries["meta-d"]
    with (job.cache / "reports/tiny/per_image.csv").open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["row"] == "meta-d"]
    ranked = sorted((float(line["abs_rel"]), line["frame"]) for line in lines)
    assert [(image.rank, image.row.frame) for image in gallery.images] == [
        ("best", ranked[0][1]),
        ("median", ranked[(len(ranked) - 1) // 2][1]),
        ("worst", ranked[-1][1]),
    ]
    frames = {frame.id: frame for frame in frames_seen_by(job, "meta-d")}
    kept = json.loads((job.cache / "runs/tiny/meta-d/uncertainty.json").read_text(encoding="utf-8"))["calibration"]
    for image in gallery.images:
        frame, row = frames[image.row.frame], image.row
        expected = np.sqrt(np.interp(frame.sigma, kept["disagreement"], kept["squared_error"]))
        pairs = {"truth": (row.truth, frame.truth), "depths": (row.depths, frame.depths)}
        pairs |= {"weights": (row.weights, frame.weights), "stack": (row.stack, frame.fused)}
        for name, (found, wanted) in {**pairs, "uncertainty": (image.uncertainty, expected)}.items():
            np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-3, err_msg=f"{image.rank} {name}")
        assert image.score == pytest.approx(np.mean(frame.distance / frame.truth), rel=1e-4)


def free_stack(cache: Path) -> Stack:
    """A stack whose maps are given, with free weights."""
    stack = stack_named(cache, "meta-d")
    network = SimpleNamespace(weights="free", fuse=lambda maps, depths: (maps * depths).sum(dim=1, keepdim=True))
    return replace(stack, network=network)  # type: ignore[arg-type]


def maps_of(*weights: Sequence[float]) -> Tensor:
    """One row of pixels [1 k 1 n]."""
    return torch.tensor(weights).T[None, :, None].contiguous()


def fused_from(stack: Stack, maps: Tensor, depths: Tensor) -> Fused:
    own = shares(maps[:, : len(stack.learners)], stack.network.weights)
    return Fused(stack.network.fuse(maps, depths), maps, depths, own)


def test_free_weights_count_by_their_size(job: Job):
    stack = free_stack(job.cache)
    maps = maps_of((-1.0, 2.0, 0.5), (0.2, 0.2, 0.6), (0.0, 0.0, 0.0))
    parts = shares(maps[:, : len(stack.learners)], stack.network.weights)
    expected = maps_of((1 / 3.5, 2 / 3.5, 0.5 / 3.5), (0.2, 0.2, 0.6), (1 / 3, 1 / 3, 1 / 3))
    torch.testing.assert_close(parts, expected)
    depths = maps_of((1.0, 2.0, 4.0), (3.0, 3.0, 3.0), (1.0, 1.0, 1.0))
    found = disagreement_of(fused_from(stack, maps, depths)).flatten()
    fused = -1 * 1 + 2 * 2 + 0.5 * 4
    by_hand = ((1 * (1 - fused) ** 2 + 2 * (2 - fused) ** 2 + 0.5 * (4 - fused) ** 2) / 3.5) ** 0.5
    assert found.tolist() == pytest.approx([by_hand, 0.0, 1.0], abs=1e-6)


def test_free_weights_beyond_shares_are_counted_as_such(job: Job):
    stack = free_stack(job.cache)
    protocol = protocol_of(stack.settings, "test", flip_averaging=False, size=(48, 64))
    expected = ExpectedError(Calibration((0.1, 1.0), (0.04, 0.25)))
    statistics = StackStatistics(stack, expected, ("A", "B", "C"), protocol)
    maps = torch.zeros(1, 3, 48, 64)
    maps[:, 0], maps[:, 1], maps[:, 2] = -0.25, 1.25, 0.0
    depths = torch.full((1, 3, 48, 64), 2.0)
    truth = np.full((48, 64), 2.5, dtype=np.float32)
    valid = np.zeros((48, 64), dtype=np.bool_)
    valid[:10] = True
    image = np.zeros((48, 64, 3), dtype=np.uint8)
    fused = fused_from(stack, maps, depths)
    statistics.add(RawFrame(image, truth, valid), fused)
    statistics.add(RawFrame(image, truth, np.zeros_like(valid)), fused)
    details = statistics.details()
    assert (details.weights.below, details.weights.above) == ((640, 0, 0), (0, 640, 0))
    assert sum(details.weights.pixels) == 640
    assert details.uncertainty is not None
    reliability = details.uncertainty.reliability
    assert reliability.pixels == (640,)
    assert reliability.observed == pytest.approx((0.5,))
    assert reliability.predicted == pytest.approx((0.2,)), "no disagreement: the error of the first knot"


def test_a_stack_of_free_weights_predicts_photographs_with_their_error(job: Job, tmp_path: Path):
    cache = job.copy_to(tmp_path)
    free = ("--set", "network.weights=free", "--name", "free")
    done("meta", "fit", "--inputs", "d", "--config", job.config, "--cache-dir", cache, *free)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    done("meta", "predict", "free", tmp_path / "photo.png", "--out", tmp_path / "o", "--cache-dir", cache)
    kept = json.loads((cache / "runs/tiny/free/uncertainty.json").read_text(encoding="utf-8"))
    assert kept["rows"] == "oof"
    metres = np.load(tmp_path / "o/photo_depth.npy")
    assert metres.shape == (48, 64)
    assert metres.min() > 0
