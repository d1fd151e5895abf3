"""The networks that come with the package: they predict at once, without a network to ask, and their card is true."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import call, done
from PIL import Image

import ensemble
from ensemble.deploy.runtime import ExportedStack
from ensemble.deploy.saved import read_saved
from ensemble.pretrained import DEFAULT, FOLDER, PRETRAINED, pretrained
from ensemble.settings.layers import Choice, learner_settings
from ensemble.settings.trees import SettingsError
from ensemble.training.networks import build_learner

PHOTOGRAPH = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", PRETRAINED)
def test_names_are_files_that_hold_no_path_and_together_are_small(name: str):
    files = [pretrained(name), pretrained(name, "onnx")]
    assert all(file.parent == FOLDER for file in files)
    header, _ = read_saved(files[0])
    assert header.half
    assert header.scores is not None, "it was scored before it was saved"
    text = header.model_dump_json() + repr(ExportedStack.open(files[1]).header)
    assert not re.findall(r"[\"'][^\"']*/(?:home|work|tmp|root|data)[^\"']*[\"']", text)
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) < 10e6


def test_a_file_of_the_same_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path(DEFAULT).write_text("mine")
    assert pretrained(DEFAULT) == Path(DEFAULT)
    assert pretrained("demo/meta-d") == Path("demo/meta-d")


def test_it_sees_depth_and_both_files_see_the_same():
    stack = ensemble.load(DEFAULT)
    seen, exported = stack(PHOTOGRAPH).depth, ExportedStack.open(pretrained(DEFAULT, "onnx"))(PHOTOGRAPH).depth
    assert seen.shape == exported.shape == (120, 160)
    assert 0.5 < seen.min() < seen.max() < 10
    assert np.abs(np.log(seen) - np.log(exported)).mean() < 0.1, "int8 is within a tenth of the depth on average"


def test_one_word_and_a_photograph_are_enough(tmp_path: Path):
    """In a process of its own, with every hub switched off and no cache of anything."""
    Image.fromarray(PHOTOGRAPH).save(tmp_path / "photo.jpg")
    kept = {**os.environ, "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    words = [sys.executable, "-m", "ensemble", "predict", "photo.jpg"]
    ran = subprocess.run(words, cwd=tmp_path, env=kept, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    written = np.load(tmp_path / "depth/photo_depth.npy")
    assert written.shape == (120, 160)
    assert 0.5 < written.min() < written.max() < 10


def test_a_runtime_that_it_does_not_come_for_is_named(tmp_path: Path):
    Image.fromarray(PHOTOGRAPH).save(tmp_path / "photo.jpg")
    answer = call("predict", tmp_path / "photo.jpg", "--runtime", "openvino", "--out", tmp_path / "out")
    assert answer.status == 2
    assert "nyu-small comes for torch, which is the default, and for onnx" in answer.err
    done("predict", tmp_path / "photo.jpg", "--runtime", "onnx", "--out", tmp_path / "out")
    assert (tmp_path / "out/photo_depth.npy").is_file()


def test_its_encoder_is_where_a_learner_may_begin():
    """Where no model hub answers; the settings name it, so that a run says where it began on any machine."""
    chosen = ("encoder.name=mobilenetv2_100", "encoder.weights=nyu-small")
    settings = learner_settings("bts", Choice("rooms", assignments=chosen))
    assert settings.encoder.weights == "nyu-small"
    found = build_learner(settings).get_submodule("encoder.features").state_dict()
    own = (
        ensemble.load("nyu-small", device="cpu")
        .network.get_submodule("members.0.models.0.encoder.features")
        .state_dict()
    )
    assert len(found) > 200
    for name, value in found.items():
        torch.testing.assert_close(value, own[name])
    with pytest.raises(SettingsError, match="or a network that comes with the package \\(nyu-small\\)"):
        learner_settings("bts", Choice("rooms", assignments=("encoder.weights=nyu-smal",)))
    with pytest.raises(
        SettingsError, match=r"nyu-small holds those of mobilenetv2_100, and encoder\.name is ghostnet_100"
    ):
        learner_settings("bts", Choice("rooms", assignments=("encoder.weights=nyu-small",)))
