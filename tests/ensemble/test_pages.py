"""What the pages of ``docs`` tell people to type is accepted and does the whole job; their figures were measured."""

import importlib
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from calm_stacks import calm
from command_lines import Job, done
from pages import DOCS, ROOT, blocks, commands
from PIL import Image
from test_cli import typed

from base_learners.encoders.build import build_encoder
from ensemble.deploy.video.writing import film_writer

PAGES = sorted([*DOCS.glob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))])
SINGLE = ("demo", "report", "points", "video", "view")


def options_of(tool: str, verb: str) -> set[str] | None:
    """Names of all options of a command; ``None`` where there is no such command."""
    module = f"ensemble.{tool}.__main__" if tool in ("data", "report") else f"ensemble.{tool}"
    command: Any = typer.main.get_command(importlib.import_module(module).app)
    command = command if tool in SINGLE else command.commands.get(verb)
    return None if command is None else {name for each in command.params for name in each.opts} | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_that_a_page_names_is_there_with_its_options(page: Path):
    text = page.read_text(encoding="utf-8").replace("\\|", "|")
    for command in re.findall(r"(?:python -m ensemble\.|`stackdepth )([a-z]\w+(?: [^\n`|]*)?)", text):
        tool, *words = command.split(";")[0].split("#")[0].split()
        if tool == "deploy":  # python -m ensemble.deploy.runtime, which has a parser of its own
            continue
        verb = words[0] if words else ""
        if verb and not re.fullmatch(r"[a-z][a-z-]+", verb) and tool not in SINGLE:
            continue  # all commands of a tool, or none
        if known := options_of(tool, verb) if verb else None:
            assert {word for word in words if word.startswith("--")} <= known, command
        else:
            assert not verb, f"{page.name} names {tool} {verb}"


def test_words_of_answers_stand_in_the_glossary():
    words = (DOCS / "glossary.md").read_text(encoding="utf-8")
    known = {each.strip() for line in re.findall(r"^- \*\*(.*?)\*\*", words, re.M) for each in line.split(",")}
    assert {"disagreement", "student", "teacher", "SILog"} <= known


def test_answers_come_before_what_was_not_met():
    questions = (DOCS / "results.md").read_text(encoding="utf-8").split("\n## ")[1:]
    for question in questions:
        _, _, answer = question.partition("\n\n")
        assert not answer.startswith(("**Not met", "Not met")), question.splitlines()[0]


def test_figures_of_answers_stand_in_the_appendix():
    measured = set(re.findall(r"\d*\.\d+|\d[\d,]+", (DOCS / "results_appendix.md").read_text(encoding="utf-8")))
    rows = re.findall(r"^\|.*\|$", (DOCS / "results.md").read_text(encoding="utf-8"), re.M)
    figures = {figure for row in rows for figure in re.findall(r"\d*\.\d+|\d[\d,]+", row)}
    assert len(figures) > 200
    assert figures <= measured, sorted(figures - measured)


def test_the_network_of_the_page_is_a_learner():
    (code,) = blocks("own_learner.md", "python")
    names: dict[str, Any] = {}
    exec(code, names)
    network = names["Plain"](build_encoder("test_efficientnet"))
    prediction = network(torch.rand(1, 3, 45, 61, generator=torch.Generator().manual_seed(0)))
    assert prediction.depth.shape == (1, 1, 45, 61)
    target = torch.full_like(prediction.depth, 2.0)
    assert torch.isfinite(names["plain_loss"](prediction, target, target > 1)["silog"])


@pytest.mark.slow
def test_the_first_hour_does_the_whole_job(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for tool, *words in commands("first_hour.md"):
        done(tool, *(tiny if word == "rooms_tiny" else word for word in words))
    assert len(list((tmp_path / "depth").rglob("*_depth.npy"))) == 1
    names: dict[str, Any] = {}
    exec(blocks("first_hour.md", "python")[0], names)
    assert names["prediction"].depth.shape == (240, 320)


def test_points_and_films_are_made_as_the_page_says(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (4, 90, 120, 3), np.uint8)
    Image.fromarray(noise[0]).save("photo.jpg")
    with film_writer(Path("film.mp4"), (90, 120), Fraction(2)) as write:
        for number, image in enumerate(noise):
            write(image, number / 2)
    for tool, *words in commands("seeing.md"):
        done(tool, *words, STACKDEPTH_CACHE=str(job.cache))
    made = {path.name for path in tmp_path.iterdir()}
    assert {"photo.ply", "photo.glb", "depth.mp4", "depth.mkv", "alone.mp4", "depth.npz"} <= made
    with np.load("depth.npz") as arrays:
        assert arrays["seconds"].tolist() == [0, 0.5]
        assert arrays["frame_000001"].shape == (90, 120)


@pytest.mark.slow
def test_a_stack_leaves_as_the_page_says(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    photos.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(noise).save(photos / "one.png")
    for tool, *words in commands("deployment.md"):
        if tool == "export":  # on its own: types that are checked in signatures here know no symbolic sizes
            answer = typed(tool, *words)
            assert answer.returncode == 0, answer.stderr
        else:
            done(tool, *words, STACKDEPTH_CACHE=str(job.cache))
        if words[0] == "save":  # an export of learners of two steps is refused, rightly
            calm("tiny/meta-rgb+d", job).save(tmp_path / "kitchen.stack")
    assert np.load("depth/one_depth.npy").shape == np.load("fromfile/one_depth.npy").shape == (90, 120)
    for code in blocks("deployment.md", "python"):
        names: dict[str, Any] = {}
        exec(code, names)
        assert names["prediction"].depth.shape == (90, 120)
