"""The copy of DenseDepth and Kaggle (``nyu_data``): two kinds of depth, in-filled in 8 bits and 16-bit millimetres.

Verified against DenseDepth's ``PyTorch/data.py`` (a byte of 255 is the farthest, 10 m) and a published
``nyu2_train.csv`` (paths start with ``data/``, no header). The 16-bit millimetres of the test depth and the numbers of
its files, indices into the labeled set, are from third parties' code and descriptions.
"""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ensemble.data.copies import Contents, NyuSource, Problem, without_doubles
from ensemble.data.formats.images import read_depth_8bit
from ensemble.data.nyu.bts import PairReader
from ensemble.data.nyu.files import Pair, missing_files
from ensemble.data.nyu.lists import read_lines
from ensemble.data.nyu.scenes import with_runs_for_scenes
from ensemble.data.source import Entry, Frame, Split
from ensemble.data.splits import scene_of_folder

_METRES_PER_STEP = np.float32(10 / 255)
_TEST_NAME = re.compile(r"(\d+)_colors")
_BASES = (".", "nyu_data")


class EightBitPair(Pair):
    """The two files of a training frame, whose depth has 255 steps."""


class DenseDepthReader(PairReader):
    """Reads 8-bit training depth and 16-bit test depth."""

    def depth(self, place: Pair) -> Float32[np.ndarray, "h w"]:
        """Metres, 0 where nothing was measured."""
        if isinstance(place, EightBitPair):
            return read_depth_8bit(place.depth) * _METRES_PER_STEP
        return super().depth(place)


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
        entries += _listed(list_file, split, problems)
    named = with_runs_for_scenes(entries, "labeled", _test_number)
    return Contents(NyuSource(root, without_doubles(named, problems), DenseDepthReader()), tuple(problems))


def find_list(root: Path, split: Split) -> Path | None:
    """The list of a split, in the folder, in its ``data`` or in ``nyu_data/data``."""
    folders = (root / base / data for base in _BASES for data in ("data", "."))
    return next((path for folder in folders if (path := folder / f"nyu2_{split}.csv").is_file()), None)


def _listed(list_file: Path, split: Split, problems: list[Problem]) -> list[Entry]:
    text = list_file.read_text(encoding="utf-8-sig", errors="replace")
    lines, wrong = read_lines(text, str(list_file), separator=",")
    problems += wrong
    pair_of, entries = EightBitPair if split == "train" else Pair, []
    for line in lines:
        # The lists say data/nyu2_train/..., whatever the folder is called that they came to lie in.
        rgb, depth = (Path(*path.parts[path.parts[0] == "data" :]) for path in line)
        pair = pair_of(list_file.parent / rgb, list_file.parent / depth)
        if missing := missing_files([pair]):
            problems += missing
            continue
        folder = rgb.parent.name
        entries.append(Entry(Frame(f"{folder}/{rgb.stem}", scene_of_folder(folder.removesuffix("_out")), split), pair))
    return entries


def _test_number(frame: Frame) -> int | None:
    """The number of a test image, all of which lie in one folder."""
    match = _TEST_NAME.search(frame.id) if frame.split == "test" else None
    return int(match.group(1)) if match else None
