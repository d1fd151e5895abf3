"""The image part of an expected error goes with a stack wherever it goes: run, file, folder, photographs, maps."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import Job, done
from PIL import Image

import ensemble
from ensemble.deploy.saved import _checksum, read_saved
from ensemble.evaluation.calibration import calibration_of, kept_calibration
from ensemble.evaluation.results.details import read_details
from ensemble.metrics.expected_error import ExpectedError, ImagePart, ScaleError
from ensemble.runs.paths import Outputs
from ensemble.runs.seals import write_sealed
from ensemble.stacking.stack import Stack, load_stack
from meta.weighing import Fused

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
SCALE = ScaleError((0.0,) * 4, (1.0,) * 4, (-20.0,) * 4, (20.0,) * 4, (0.1, 0.1, 0.5, 0.0), -2.0)


def with_image_part(job: Job, folder: Path) -> tuple[Path, Stack]:
    """A copy of the job whose meta-rgb+d has an image part, as if its scenes had been many."""
    cache = job.copy_to(folder)
    outputs = Outputs(cache)
    stack = load_stack(outputs.find_run("tiny/meta-rgb+d"), outputs)
    alone = calibration_of(stack, outputs)
    part = ImagePart(SCALE, 0.5, alone.pixels, 0.3, 0.1)
    content = json.loads(stack.run.uncertainty.read_text(encoding="utf-8"))
    assert "image_part" not in content
    content["image_part"] = ExpectedError(alone.pixels, part).image_to_plain()
    write_sealed(stack.run.uncertainty, json.dumps(content).encode())
    assert kept_calibration(stack) == replace(alone, image=part)
    return cache, stack


def test_runs_files_and_folders_expect_the_same_errors(job: Job, tmp_path: Path) -> None:
    cache, stack = with_image_part(job, tmp_path)
    whole = ensemble.load("tiny/meta-rgb+d", device="cpu", cache_dir=cache)
    found = whole(IMAGE)
    alone = ensemble.load("tiny/meta-rgb+d", device="cpu", cache_dir=job.cache)(IMAGE)
    assert found.error is not None
    assert alone.error is not None
    np.testing.assert_array_equal(found.depth, alone.depth)
    shares, learners, depth = (
        torch.from_numpy(each)[None]
        for each in (found.weights, np.stack([*found.learners.values()]), found.depth[None])
    )
    kept = kept_calibration(stack)
    assert kept is not None
    expected = kept.of(Fused(depth, shares, learners, shares))[0, 0].numpy()
    np.testing.assert_allclose(found.error, expected, rtol=1e-4)
    assert (found.error > alone.error).all(), "what is left was not fitted anew here, so that the part only adds"
    for out in ("own.stack", "own"):
        done("meta", "save", "meta-rgb+d", tmp_path / out, "--cache-dir", cache)
        again = ensemble.load(tmp_path / out, device="cpu")
        error = again(IMAGE).error
        assert error is not None
        np.testing.assert_array_equal(error, found.error)
        tensors = again(torch.from_numpy(IMAGE).permute(2, 0, 1)[None].float() / 255)
        assert tensors.error is not None
        np.testing.assert_allclose(tensors.error[0].numpy(), found.error, rtol=1e-3)
        fused = again.fuse(found.learners, IMAGE)
        assert fused.error is not None
        np.testing.assert_allclose(fused.error, found.error, rtol=1e-3)
    Image.fromarray(IMAGE).save(tmp_path / "photo.png")
    done("meta", "predict", tmp_path / "own.stack", tmp_path / "photo.png", "--out", tmp_path / "o", "--only", "error")
    np.testing.assert_allclose(np.load(tmp_path / "o" / "photo_error.npy"), found.error, rtol=1e-5)


def test_a_folder_of_before_there_was_an_image_part_is_read(job: Job, tmp_path: Path) -> None:
    done("meta", "save", "meta-rgb+d", tmp_path / "own", "--cache-dir", job.cache)
    expected = ensemble.load(tmp_path / "own", device="cpu")(IMAGE).error
    config = tmp_path / "own" / "config.json"
    header = json.loads(config.read_text(encoding="utf-8"))
    assert header.pop("image_part") is None
    _, weights = read_saved(tmp_path / "own")
    header["checksum"] = _checksum(header, weights)
    config.write_text(json.dumps(header), encoding="utf-8")
    found = ensemble.load(tmp_path / "own", device="cpu")(IMAGE).error
    assert expected is not None
    assert found is not None
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("damage", [{"share": 2.0}, {"scale": {}}])
def test_an_image_part_that_is_none_is_refused(job: Job, tmp_path: Path, damage: dict[str, object]) -> None:
    _, stack = with_image_part(job, tmp_path)
    content = json.loads(stack.run.uncertainty.read_text(encoding="utf-8"))
    content["image_part"] |= damage
    write_sealed(stack.run.uncertainty, json.dumps(content).encode())
    with pytest.raises(ValueError, match="fit the calibration again"):
        kept_calibration(stack)


def test_an_evaluation_tells_what_the_image_part_is_worth(job: Job, tmp_path: Path) -> None:
    cache, _ = with_image_part(job, tmp_path)
    done("meta", "evaluate", "meta-rgb+d", "--cache-dir", cache)
    found = read_details(cache / "runs/tiny/meta-rgb+d/details.json").stacks["meta-rgb+d"].uncertainty
    assert found is not None
    assert found.images is not None
    assert (found.images.share, found.images.gain) == (0.5, 0.3)
    assert sum(found.images.reliability.images) == 4
    ranks = {(each.ranked, each.metric) for each in found.images.rankings}
    assert len(ranks) == len(found.images.rankings) == 7
    assert found.images.ence_alone != found.reliability.ence
