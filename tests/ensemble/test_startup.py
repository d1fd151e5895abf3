"""What commands import, each in a process of its own: nobody waits for libraries that a command does not use."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from ensemble.data import open_source
from ensemble.settings.layers import Choice, learner_settings

LEGACY = Path(__file__).parent / "legacy"
SLOW = {"torch", "lightning", "torchmetrics", "timm", "matplotlib", "optuna", "sklearn"}
"""Libraries that take a noticeable part of a second."""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small experiment, depth maps of its validation frames and a folder of rooms."""
    folder = tmp_path_factory.mktemp("startup")
    with tarfile.open(LEGACY / "cache.tar.gz") as packed:
        packed.extractall(folder, filter="data")
    shutil.rmtree(folder / "cache/studies")  # these are looked at with Optuna
    source = open_source(learner_settings("bts", Choice(config=LEGACY / "legacy.yaml")).data)
    for frame in source.frames:
        if frame.split == "train":
            path = folder / "maps" / f"{frame.id}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, source.read(frame).depth)
    imported("data", "rooms", folder / "rooms", "--scenes", 2, "--frames", 1, "--test-scenes", 1, "--size", "48x64")
    return folder


def imported(tool: str, *words: object) -> set[str]:
    """Modules that a command imports until it ends well."""
    command = [sys.executable, "-X", "importtime", "-m", f"ensemble.{tool}", *map(str, words)]
    environment = {name: value for name, value in os.environ.items() if name not in ("NYU_ROOT", "STACKDEPTH_CACHE")}
    environment["STACKDEPTH_QUIET"] = "1"  # a line of dots would stand before what is read below
    ran = subprocess.run(command, cwd=LEGACY.parents[2], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines() if line.startswith("import time:")}


@pytest.mark.parametrize(
    "tool", ["base", "meta", "study", "export", "data", "points", "video", "view", "report", "demo"]
)
def test_help_imports_nothing_slow(tool: str):
    assert not imported(tool, "--help") & SLOW


def test_what_only_reads_files_imports_no_torch(experiment: Path):
    cache = ("--cache-dir", experiment / "cache")
    assert not imported("base", "verify", *cache) & SLOW
    assert not imported("data", "doctor", experiment / "rooms") & SLOW
    drawn = imported("report", "legacy/meta-d", "--out", experiment / "report", *cache) & SLOW
    assert drawn == {"matplotlib"}, "the run has frames to draw"


def test_an_import_of_depth_maps_imports_torch_alone(experiment: Path):
    given = ("--config", LEGACY / "legacy.yaml", "--cache-dir", experiment / "cache")
    assert imported("base", "import", "mine", experiment / "maps", "--role", "validation", *given) & SLOW == {"torch"}


def test_photographs_want_networks_and_pictures_and_nothing_that_trains(experiment: Path):
    image, out = experiment / "expected/small.png", experiment / "photographs"
    found = imported("meta", "predict", "meta-d", image, "--out", out, "--cache-dir", experiment / "cache")
    assert found & SLOW == {"torch", "timm", "matplotlib"}


@pytest.mark.slow
def test_an_evaluation_imports_nothing_that_trains(experiment: Path):
    found = imported("meta", "evaluate", "meta-d", "--cache-dir", experiment / "cache")
    assert not found & {"lightning", "torchmetrics", "optuna"}
