"""New data are one file, one line and one YAML: the steps of CONTRIBUTING.md, taken in a copy of the package.

The toy is what generated rooms and NYU Depth v2 are not: wide frames of two sizes, depth up to 80 m, and a truth
at one pixel in five.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_lines import TINY
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SIZES = ((40, 130), (36, 126))
SCENES = {"train": 5, "test": 2}

SOURCE = '''"""Toy: frames in files of NumPy, ``{train,test}/<scene>/<number>.npz``."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ensemble.data.intrinsics import Intrinsics
from ensemble.data.source import Frame, RawFrame, Split
from ensemble.runs.fingerprints import lines_fingerprint
from ensemble.settings.schema import DataSettings

SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True)
class ToySource:
    """The files of a folder."""

    root: Path
    name: str = "toy"

    @classmethod
    def from_settings(cls, settings: DataSettings) -> "ToySource":
        """Those of ``data.root``, or of the folder that the environment names."""
        return cls(Path(settings.root or os.environ["TOY_ROOT"]))

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Every file."""
        paths = [(split, path) for split in SPLITS for path in sorted((self.root / split).glob("*/*.npz"))]
        return tuple(Frame(f"{path.parent.name}/{path.stem}", path.parent.name, split) for split, path in paths)

    def read(self, frame: Frame) -> RawFrame:
        """Image and sparse depth."""
        with np.load(self.root / frame.split / f"{frame.id}.npz") as file:
            image, depth, camera = file["image"], file["depth"], file["camera"]
        return RawFrame(image, depth, depth > 0, Intrinsics(*map(float, camera)))

    def read_image(self, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
        """The image alone."""
        return self.read(frame).image

    def describe(self, frames: Sequence[Frame]) -> str:
        """Ids and sizes of files."""
        sizes = [(self.root / frame.split / f"{frame.id}.npz").stat().st_size for frame in frames]
        return lines_fingerprint([f"{frame.split} {frame.id} {size}" for frame, size in zip(frames, sizes)])
'''
YAML = """
source: {title: toy roads, variable: TOY_ROOT, frame: [40, 130], max_depth: 80.0, likely_depth: [1.0, 60.0]}
data: {kind: toy, size: [32, 96], border: [4, 0, 40, 130], crop: [24, 64], validation_fraction: 0.3}
"""
ROADS = """
source: {reader: folder, title: roads, variable: ROADS_ROOT, frame: [40, 130], max_depth: 80.0, likely_depth: [1, 60]}
data: {kind: roads, size: [32, 96], folder: {images: "images/*/*.png", depth: "maps/*/*.npy"}}
"""
DRIVER = """
import json, sys
from pathlib import Path
tests, config, cache = sys.argv[1:]
sys.path.insert(0, tests)
from command_lines import call, done
import ensemble.data
root = str(Path(config).parent / "roads")
given = ("--data", "toy", "--config", config, "--cache-dir", cache)
said = done("base", "train", "bts", "--folds", 2, *given, TOY_ROOT=root).err
done("base", "train", "ldrn", "--folds", 2, *given, "--root", root)
for role in ("oof", "validation", "test"):
    done("base", "cache", "bts", "ldrn", "--role", role, *given, "--root", root)
done("meta", "fit", "--inputs", "rgb+d", "--learners", "bts,ldrn", *given, "--root", root)
scores = done("meta", "evaluate", "meta-rgb+d-bts-ldrn", "--protocol", "bts", "--json", "--cache-dir", cache)
done("report.__main__", Path(cache, "runs/toy/meta-rgb+d-bts-ldrn"), "--out", Path(cache, "report"))
for role in ("validation", "test"):
    done("base", "import", "scan", Path(root, "maps"), "--role", role, *given, "--root", root)
scan = done("base", "evaluate", "scan", "--experiment", "toy", "--json", "--cache-dir", cache)
nowhere = call("base", "train", "bts", *given).err
rooms = call("base", "train", "bts", "--data", "rooms", "--root", root).err
roads = done("data", "doctor", root, "--data", "roads").out
found = {"package": ensemble.data.__file__, "said": said, "roads": roads, "nowhere": nowhere, "rooms": rooms}
print(json.dumps({**found, "scores": json.loads(scores.out), "scan": json.loads(scan.out)}))
"""


def write_roads(folder: Path) -> None:
    """A plain seen from 2 m above, with boxes on it: frames of a scene share a size, and one pixel in five is known."""
    rng = np.random.default_rng(0)
    for number, (split, scene) in enumerate(
        (split, index) for split, count in SCENES.items() for index in range(count)
    ):
        height, width = SIZES[number % 2]
        for frame in range(2):
            rows = np.arange(height)[:, None] + 0.5
            depth = np.clip(2 * width / np.maximum(rows - 0.3 * height, 1), 1, 90) * np.ones((1, width))
            left = int(rng.integers(width - 30))
            depth[height // 3 :, left : left + 30] = rng.uniform(4, 30)
            shade = 255 * (1 - np.log(depth) / 5)
            image = np.clip(shade[..., None] + rng.normal(0, 5, (height, width, 3)), 0, 255).astype(np.uint8)
            known = np.where(rng.random(depth.shape) < 0.2, depth, 0).astype(np.float32)
            maps = folder / "maps" / f"{split}_{scene}" / f"{frame}.npy"
            maps.parent.mkdir(parents=True, exist_ok=True)
            np.save(maps, np.clip(depth, 25, 59).astype(np.float32))  # no room is this deep
            path = folder / split / f"{split}_{scene}" / f"{frame}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = folder / "images" / f"{split}_{scene}" / f"{frame}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(picture)
            np.savez(path, image=image, depth=known, camera=(width, width, width / 2 - 0.5, 0.3 * height - 0.5))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the package says after a source was added and nothing else was changed."""
    folder = tmp_path_factory.mktemp("toy")
    copy = folder / "package"
    for name in ("base_learners", "meta", "ensemble", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    (copy / "ensemble/data/toy.py").write_text(SOURCE, encoding="utf-8")
    (copy / "configs/data/toy.yaml").write_text(YAML, encoding="utf-8")
    (copy / "configs/data/roads.yaml").write_text(ROADS, encoding="utf-8")
    registry = copy / "ensemble/data/__init__.py"
    text = registry.read_text(encoding="utf-8")
    lines = "from ensemble.data.source import FrameSource\n", '    "rooms": RoomsSource.from_settings,\n'
    assert all(text.count(line) == 1 for line in lines)
    text = text.replace(lines[0], f"{lines[0]}from ensemble.data.toy import ToySource\n")
    registry.write_text(text.replace(lines[1], f'{lines[1]}    "toy": ToySource.from_settings,\n'), encoding="utf-8")

    write_roads(folder / "roads")
    experiment = {**yaml.safe_load(TINY), "experiment": "toy", "data": {"folds": 2}, "evaluation": {"crop": "eigen"}}
    config = folder / "toy.yaml"
    config.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name not in ("NYU_ROOT", "STACKDEPTH_CACHE")}
    words = (str(Path(__file__).parents[1]), str(config), str(folder / "cache"))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVER, *words],
        cwd=copy,
        env={**environment, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["package"] == str(registry), "it is the copy that was run"
    return {**answer, "cache": folder / "cache", "roads_folder": folder / "roads"}


def test_what_its_yaml_says_of_the_kind_is_asked(found: dict[str, Any]):
    settings = json.loads((found["cache"] / "runs/toy/bts/full/settings.json").read_text(encoding="utf-8"))["data"]
    assert (settings["kind"], settings["root"], settings["max_depth"]) == ("toy", str(found["roads_folder"]), 80.0)
    assert settings["size"] == [32, 96]
    assert f"data: toy roads in {found['roads_folder']}" in found["said"]
    assert "--root or TOY_ROOT, found none" in found["nowhere"]
    assert "expected data.kind folder or kitti or nyu or roads or toy, found rooms" in found["rooms"]


def test_a_data_set_in_files_of_its_own_wants_a_yaml_alone(found: dict[str, Any]):
    lines = found["roads"].splitlines()
    assert lines[0] == f"roads in {found['roads_folder']}"
    (frames,) = (line.split() for line in lines if line.startswith(" frames"))
    assert sum(map(int, frames[1:])) == 2 * sum(SCENES.values())
    assert lines[-1].startswith(f"python -m ensemble.base train adabins --data roads --root {found['roads_folder']}")


def test_scores_are_made_at_the_size_of_each_frame(found: dict[str, Any]):
    ours = found["scores"]["protocols"]["ours"]["scores"]
    assert ours["protocol"]["size"] == "each frame's own"
    assert (ours["protocol"]["max_depth"], ours["protocol"]["crop"]) == (80.0, "eigen")
    rows = {row["name"]: row for row in ours["rows"]}
    assert {"bts", "ldrn", "meta-rgb+d-bts-ldrn", "oracle pick"} <= set(rows)
    for row in rows.values():
        assert row["images"] == 2 * SCENES["test"]
        assert 0 < row["scores"]["abs_rel"] < 10
    assert rows["oracle pick"]["scores"]["rmse"] < min(rows[name]["scores"]["rmse"] for name in ("bts", "ldrn"))


def test_depth_from_elsewhere_has_the_shape_and_the_unit_of_its_frame(found: dict[str, Any]):
    rows = {row["name"]: row for row in found["scan"]["rows"]}
    assert rows["scan"]["images"] == 2 * SCENES["test"]
    assert found["scan"]["protocol"] == found["scores"]["protocols"]["ours"]["scores"]["protocol"]


def test_documents_say_so(found: dict[str, Any]):
    text = (found["cache"] / "report/report.md").read_text(encoding="utf-8")
    assert "size: each frame's own" in text
    assert "max depth: 80 m" in text
    compared = (found["cache"] / "runs/toy/meta-rgb+d-bts-ldrn/protocols.md").read_text(encoding="utf-8")
    assert "defined for frames of 480x640, scaled to the size of each frame" in compared
    details = json.loads((found["cache"] / "runs/toy/meta-rgb+d-bts-ldrn/details.json").read_text(encoding="utf-8"))
    weights = details["stacks"]["meta-rgb+d-bts-ldrn"]["weights"]
    assert (weights["depth_edges"][0], weights["depth_edges"][-1]) == (0.0, 80.0)
