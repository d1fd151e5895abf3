"""The page of own data does the whole job on a folder of somebody's images."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_lines import TINY, done
from own_data import write_own
from pages import blocks, commands

README = Path(__file__).parents[3] / "README.md"


@pytest.mark.slow
def test_own_data_do_the_whole_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_own(tmp_path / "photos")
    shown, small = yaml.safe_load(blocks("own_data.md", "yaml")[0]), yaml.safe_load(TINY)
    data = {**shown["data"], "size": [40, 64], "folds": 2}  # the shape of these frames, and two folds of few rooms
    config = {**small, **shown, "data": data}
    Path("own.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    for tool, *words in commands("own_data.md"):
        answer = done(tool, *("2" if word == "5" else word for word in words))
    assert "report.html" in answer.out + answer.err
    assert Path("cache/runs/own/two/report.html").is_file()


def test_the_settings_in_the_readme_are_what_the_doctor_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (shown,) = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    write_own(tmp_path / "own")
    settings = yaml.safe_load(shown)
    assert settings["data"]["size"] == [240, 320]
    Path("own.yaml").write_text(yaml.safe_dump({"data": settings["data"] | {"size": [40, 64]}}), encoding="utf-8")
    told = done("data", "doctor", "own", "--config", "own.yaml").out
    assert told.startswith("own data in own\n")
    assert "base train adabins --root own --config own.yaml" in told


@pytest.mark.slow
def test_what_was_fitted_predicts_once_the_data_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run that nobody evaluated, saved or predicted with: the fit itself keeps its calibration and its camera."""
    monkeypatch.chdir(tmp_path)
    write_own(tmp_path / "photos")
    camera = {"frame": [60, 96], "fx": 80.0, "fy": 80.0, "cx": 47.5, "cy": 29.5}
    data = {"kind": "folder", "size": [40, 64], "folds": 2, "root": str(tmp_path / "photos")}
    config = {**yaml.safe_load(TINY), "experiment": "own", "data": {**data, "folder": {"intrinsics": camera}}}
    Path("own.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    for learner in ("bts", "ldrn"):
        done("base", "train", learner, "--folds", 2, "--config", "own.yaml")
    done("meta", "fit", "--inputs", "d", "--learners", "bts,ldrn", "--name", "two", "--config", "own.yaml")
    kept = {path.name for path in Path("cache/runs/own/two").iterdir()}
    assert {"uncertainty.json", "camera.json"} <= kept
    shutil.copy("photos/rgb/room_0000/0001.png", "photo.png")
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    for out, words in {"plain": [], "far": ["--fov", "30"]}.items():
        done("meta", "predict", "two", "photo.png", "--out", out, *words)
    plain, far = (np.load(f"{out}/photo_depth.npy") for out in ("plain", "far"))
    np.testing.assert_allclose(far / plain, 48 / np.tan(np.radians(15)) / 80, rtol=1e-5)
    assert np.load("plain/photo_error.npy").shape == (60, 96)
    done("base", "save", "own/bts", "bts.stack")
    done("base", "predict", "bts.stack", "photo.png", "--out", "bts", "--fov", "30")
    assert "all as they were written" in done("base", "verify").err
