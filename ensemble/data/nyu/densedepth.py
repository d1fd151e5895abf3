"""The copy of DenseDepth and Kaggle (``nyu_data``): two kinds of depth, in-filled in 8 bits and 16-bit millimetres.

Verified against DenseDepth's ``PyTorch/data.py`` (a byte of 255 is the farthest, 10 m) and a published
``nyu2_train.csv`` (paths start with ``data/``, no header). The 16-bit millimetres of the test depth and the numbers of
its files, indices into the labeled set, are from third parties' code and descriptions.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from ensemble.data.copies import Contents, Entry, NyuSource, Problem, without_doubles
from ensemble.data.formats.images import check_end, read_depth_8bit, read_depth_mm, read_rgb
from ensemble.data.nyu.files import Pair, missing_files
from ensemble.data.nyu.lists import read_lines
from ensemble.data.nyu.scenes import runs_of
from ensemble.data.source import Frame, Split
from ensemble.data.splits import scene_of_folder

_METRES_PER_STEP = np.float32(10 / 255)
_MILLIMETRES = np.float32(1000)
_TEST_NAME = re.compile(r"(\d+)_colors")
_BASES = (".", "nyu_data")


class Place(NamedTuple):
    """The two files of a frame, and how its depth is coded."""

    pair: Pair
    eight_bits: bool


@dataclass(frozen=True)
class DenseDepthReader:
    """Reads 8-bit training depth and 16-bit test depth."""

    def image(self, place: Place) -> UInt8[np.ndarray, "h w 3"]:
        """The image."""
        return read_rgb(place.pair.rgb)

    def depth(self, place: Place) -> Float32[np.ndarray, "h w"]:
        """Metres, 0 where nothing was measured."""
        if place.eight_bits:
            return read_depth_8bit(place.pair.depth) * _METRES_PER_STEP
        return read_depth_mm(place.pair.depth) / _MILLIMETRES

    def check(self, place: Place) -> None:
        """Both files end as they should."""
        for path in place.pair:
            check_end(path)

    def stamp(self, place: Place) -> str:
        """The sizes of both files."""
        return " ".join(str(path.stat().st_size) for path in place.pair)

    def where(self, place: Place) -> str:
        """The file of the depth."""
        return str(place.pair.depth)


def contents(root: Path) -> Contents:
    """The frames that ``nyu2_train.csv`` and ``nyu2_test.csv`` name."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    for split in ("train", "test"):
        list_file = find_list(root, split)
        if list_file is None:
            if split == "train":
                problems.append(Problem("missing", f"nyu2_train.csv in {root} or {root / 'data'}"))
            continue
        found, wrong = _listed(list_file, split)
        entries.extend(found)
        problems.extend(wrong)
    source = NyuSource(root, DenseDepthReader(), without_doubles(_test_scenes(entries), problems))
    return Contents(source, tuple(problems))


def find_list(root: Path, split: Split) -> Path | None:
    """The list of a split, in the folder, in its ``data`` or in ``nyu_data/data``."""
    folders = (root / base / data for base in _BASES for data in ("data", "."))
    return next((path for folder in folders if (path := folder / f"nyu2_{split}.csv").is_file()), None)


def _listed(list_file: Path, split: Split) -> tuple[list[Entry], list[Problem]]:
    text = list_file.read_text(encoding="utf-8-sig", errors="replace")
    lines, problems = read_lines(text, str(list_file), separator=",")
    entries = []
    for line in lines:
        # The lists say data/nyu2_train/..., whatever the folder is called that they came to lie in.
        rgb, depth = (Path(*path.parts[path.parts[0] == "data" :]) for path in line)
        pair = Pair(list_file.parent / rgb, list_file.parent / depth)
        if missing := missing_files([pair]):
            problems.extend(missing)
            continue
        folder = rgb.parent.name
        frame = Frame(f"{folder}/{rgb.stem}", scene_of_folder(folder.removesuffix("_out")), split)
        entries.append(Entry(frame, Place(pair, split == "train")))
    return entries, problems


def _test_scenes(entries: list[Entry]) -> list[Entry]:
    """All test images lie in one folder; runs of their numbers stand for scenes."""
    numbers = {
        entry.frame.id: int(match.group(1))
        for entry in entries
        if entry.frame.split == "test" and (match := _TEST_NAME.search(entry.frame.id))
    }
    first = runs_of(numbers.values())
    return [
        Entry(Frame(frame.id, f"labeled@{first[numbers[frame.id]]:05d}", frame.split), place)
        if frame.split == "test" and frame.id in numbers
        else Entry(frame, place)
        for frame, place in entries
    ]
