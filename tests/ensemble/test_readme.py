"""What the README tells people to type is accepted, and its NYU commands do the whole job on a copy in BTS's layout."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from calm_stacks import calm
from command_lines import Job, done
from foreign_maps import noisy_maps, save_npy, source_of
from PIL import Image
from test_cli import COMMANDS, SINGLE_COMMANDS, typed

README = Path(__file__).parents[2] / "README.md"
OWN_LEARNER = README.parent / "docs" / "own_learner.md"


def commands_for_nyu() -> list[list[str]]:
    """Words after ``python -m ensemble.`` of every command in the block that starts with NYU_ROOT, loops unrolled."""
    block = re.search(r"```bash\n(export NYU_ROOT=.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert block is not None
    commands = []
    for line in block.group(1).splitlines()[1:]:
        loop = re.fullmatch(r"for (\w+) in (.*); do (.*); done", line)
        values = loop.group(2).split() if loop else [""]
        for value in values:
            text = loop.group(3).replace(f"${loop.group(1)}", value) if loop else line
            words = shlex.split(text)
            assert words[:2] == ["python", "-m"], line
            commands.append([words[2].removeprefix("ensemble."), *words[3:]])
    return commands


@pytest.mark.slow
def test_the_commands_for_nyu_do_the_whole_job(tiny: Path, tmp_path: Path):
    root = tmp_path / "nyu"
    done("data", "rooms", root, "--scenes", 4, "--frames", 2, "--test-scenes", 2, "--size", "48x64")
    config = tmp_path / "small.yaml"  # the README's commands and members, but small networks, frames and budgets
    config.write_text(json.dumps(_small_stacking(tiny)))
    commands = commands_for_nyu()
    assert [words[:2] for words in commands] == [
        *[["base", "train"]] * 3,
        ["meta", "fit"],
        ["meta", "evaluate"],
        ["report", "composed"],
    ]
    answers = {}
    for tool, *words in commands:
        given = [{"nyu_stacking": config, "5": 2}.get(word, word) for word in words]  # folds likewise
        answers[tool] = done(tool, *given, NYU_ROOT=str(root), STACKDEPTH_CACHE=str(tmp_path / "cache"))
    assert "Published" in answers["meta"].out
    ours = answers["meta"].out.partition("Published")[0]
    assert "stack d" in ours
    assert "± of 3" in ours
    scores = json.loads((tmp_path / "cache/runs/tiny/composed/scores.json").read_text(encoding="utf-8"))
    assert "stack d" in (tmp_path / "cache/runs/tiny/composed/report.html").read_text(encoding="utf-8")
    assert {row["name"] for row in scores["rows"]} >= {
        "ldrn",
        "ldrn#1",
        "ldrn_lite0",
        "ldrn_lite2#2",
        "mean",
        "composed",
    }


def _small_stacking(tiny: Path) -> dict[str, Any]:
    """The packaged experiment with the networks, frames and budgets of the tests."""
    packaged = yaml.safe_load((README.parent / "configs/experiments/nyu_stacking.yaml").read_text(encoding="utf-8"))
    small = yaml.safe_load(tiny.read_text(encoding="utf-8"))
    small["data"] |= {"kind": "nyu", "border": None}
    for name, learner in packaged["learners"].items():
        if "architecture" in learner:
            network = small["learners"][learner["architecture"]]["network"]
            small["learners"][name] = {"architecture": learner["architecture"], "network": network}
    small["meta"] |= {key: packaged["meta"][key] for key in ("learners", "copies")}
    return small


def test_the_lines_of_python_predict_a_photograph(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    done("meta", "save", "meta-rgb+d", tmp_path / "kitchen.stack", "--cache-dir", job.cache)
    Image.fromarray(np.zeros((90, 60, 3), np.uint8)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block, names)
    assert names["found"].depth.shape == names["found"].error.shape == (90, 60)
    assert names["found"].weights.shape == (3, 90, 60)


def test_the_first_command_predicts_a_photograph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (line,) = re.findall(r"```\nstackdepth (predict .*?)```", README.read_text(encoding="utf-8"), re.S)
    Image.fromarray(np.full((90, 60, 3), 128, np.uint8)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    done(*shlex.split(line, comments=True))
    names = {path.name for path in (tmp_path / "depth").iterdir()}
    assert names == {"photo_depth.npy", "photo_depth_mm.png", "photo_depth_colour.png"}
    metres, steps = np.load("depth/photo_depth.npy"), np.asarray(Image.open("depth/photo_depth_mm.png"))
    np.testing.assert_allclose(steps / 1000, metres, atol=5.1e-4)


@pytest.mark.slow
def test_the_lines_of_a_runtime_predict_a_photograph(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (block,) = re.findall(
        r"```bash\npip install 'stackdepth\[onnx\].*?\n(.*?)```", README.read_text(encoding="utf-8"), re.S
    )
    calm("tiny/meta-rgb+d", job).save(tmp_path / "kitchen.stack")
    Image.fromarray(np.full((90, 60, 3), 128, np.uint8)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    for line in block.splitlines():
        _, _, tool, *words = shlex.split(line, comments=True)
        done(tool.removeprefix("ensemble."), *words)
    found = np.load("DIR/photo_depth.npy")
    assert found.shape == (90, 60)
    assert np.isfinite(found).all()


def test_every_command_of_the_table_exists():
    table = re.findall(r"^\| `python -m ensemble\.(\w+)(?: ([a-z-]+))?", README.read_text(encoding="utf-8"), re.M)
    assert {tool for tool, _ in table} == {*COMMANDS, *SINGLE_COMMANDS}
    for tool, verb in set(table):
        if verb:
            assert f"{tool} {verb} [OPTIONS]" in done(tool, verb, "--help").out
        else:
            assert f"ensemble.{tool} [OPTIONS]" in typed(tool, "--help").stdout


def test_every_command_is_in_the_readme():
    text = README.read_text(encoding="utf-8")
    for tool, verbs in COMMANDS.items():
        for verb in verbs:
            listed = rf"^\| `python -m ensemble\.{tool} .*`{verb}`"  # one row for all commands of studies
            assert re.search(rf"python -m ensemble\.{tool} {verb}\b|{listed}", text, re.M), (tool, verb)


def test_the_commands_for_maps_from_elsewhere(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (block,) = re.findall(
        r"```bash\n(python -m ensemble.base import.*?)```", OWN_LEARNER.read_text(encoding="utf-8"), re.S
    )
    cache = job.copy_to(tmp_path)
    source = source_of(job.config)
    for folder, splits in (("train", ("train",)), ("test", ("test",))):
        for split in splits:
            save_npy(tmp_path / "maps" / folder, noisy_maps(source, split, noise=0.05, seed=1))
    tests = [frame for frame in source.frames if frame.split == "test"]
    for frame in tests:
        path = tmp_path / "photos" / f"{frame.id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source.read_image(frame)).save(path)
    monkeypatch.chdir(tmp_path)
    for line in block.splitlines():
        _, _, tool, *words = shlex.split(line)
        verb = words[0]
        given = ["--config", job.config] if verb in ("import", "fit") else []
        place = [] if verb == "fuse" else ["--cache-dir", cache]
        done(tool.removeprefix("ensemble."), *words, *given, *place)
    for frame in tests:
        fused = np.load(tmp_path / "fused" / f"{frame.id}_depth.npy")
        own = np.load(tmp_path / "maps" / "test" / f"{frame.id}.npy")
        assert np.corrcoef(fused.ravel(), own.ravel())[0, 1] > 0.8  # the other one is nearly constant
