"""The official ``nyu_depth_v2_labeled.mat`` (MATLAB 7.3, which is HDF5) with the split in ``splits.mat``.

MATLAB stores columns first, so everything appears transposed: ``images`` [n 3 w h], ``depths`` and ``rawDepths``
[n w h] in metres. ``scenes`` [1 n] are references to texts, one character per number; ``splits.mat`` is of the older
format and counts from 1. ``rawDepths`` are measured and 0 where nothing was; ``depths`` are in-filled.

Verified against BTS's ``extract_official_train_test_set_from_mat.py`` and users' code (keys, orientation, references,
1-based split). From memory: that ``scenes`` names the recording (``kitchen_0004``), as ``sceneTypes`` names the type.
"""

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32, Int64, UInt8
from scipy.io import loadmat, whosmat
from scipy.io.matlab import MatReadError

from ensemble.data.copies import Contents, NyuSource, Problem, problem_of
from ensemble.data.formats.hdf5 import member, opened, read_all, read_row, referred
from ensemble.data.nyu.fastdepth import plausible_metres
from ensemble.data.source import Entry, Frame, Split
from ensemble.data.splits import scene_of_folder
from ensemble.runs.refusals import refuse_unreadable

FILE, SPLIT_FILE = "nyu_depth_v2_labeled.mat", "splits.mat"
_SPLIT_KEYS: dict[Split, str] = {"train": "trainNdxs", "test": "testNdxs"}
_MAT_ERRORS = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, NotImplementedError, MemoryError,
               OverflowError, struct.error, zlib.error, MatReadError)  # fmt: skip
_LARGEST_SPLIT_FILE = 1 << 16
_MOST_VALUES = 100_000
_LONGEST_NAME = 1000


@dataclass(frozen=True)
class MatReader:
    """Reads images by their index, counted from 0, and measured (``rawDepths``) or in-filled depth (``depths``)."""

    path: Path
    depth_key: str

    def image(self, place: int) -> UInt8[np.ndarray, "h w 3"]:
        """The image."""
        with opened(self.path, str(self.path)) as file:
            return np.ascontiguousarray(read_row(member(file, "images"), place, "images").T)

    def depth(self, place: int) -> Float32[np.ndarray, "h w"]:
        """Metres, 0 where nothing was measured."""
        with opened(self.path, self.where(place)) as file:
            depth = read_row(member(file, self.depth_key), place, self.depth_key)
            return plausible_metres(np.ascontiguousarray(depth.T, dtype=np.float32), self.depth_key)

    def check(self, place: int) -> None:
        """Nothing: the arrays were looked at when the copy was opened, and a file that is cut short does not open."""

    def stamp(self, place: int) -> str:
        """The size of the file, which depth is read, and the index."""
        return f"{self.path.stat().st_size} {self.depth_key} {place}"

    def where(self, place: int) -> str:
        """File, key and index."""
        return f"{self.path}, {self.depth_key}[{place}]"


def contents(root: Path, *, infilled: bool = False) -> Contents:
    """The frames of the labeled set, with in-filled ``depths`` in place of ``rawDepths`` where asked for."""
    path, split_path = root / FILE, root / SPLIT_FILE
    depth_key = "depths" if infilled else "rawDepths"
    problems: list[Problem] = []
    entries: list[Entry] = []
    try:
        with opened(path, str(path)) as file:
            scenes = _scenes(file, depth_key)
        if split_path.is_file():
            entries = _entries(scenes, _split(split_path, len(scenes)))
    except ValueError as error:
        problems.append(problem_of(error))
    if not split_path.is_file():
        text = f"{split_path}, the official split; it stands beside the labeled set online"
        problems.append(Problem("missing", text))
    return Contents(NyuSource(root, tuple(entries), MatReader(path, depth_key)), tuple(problems))


def _scenes(file: h5py.File, depth_key: str) -> list[str]:
    """The scene of every image, once the arrays are what they should be."""
    images, depths, scenes = (member(file, name) for name in ("images", depth_key, "scenes"))
    count, width, height = depths.shape if depths.ndim == 3 else (0, 0, 0)
    if images.shape != (count, 3, width, height) or images.dtype != np.uint8 or not count:
        raise ValueError(
            f"'images' is {images.dtype} {images.shape} and '{depth_key}' {depths.dtype} {depths.shape}, expected "
            "uint8 (n, 3, width, height) and float (n, width, height)"
        )
    if depths.dtype.kind != "f":
        raise ValueError(f"'{depth_key}' is {depths.dtype}, expected floating point metres")
    if scenes.size != count or h5py.check_ref_dtype(scenes.dtype) is not h5py.Reference:
        raise ValueError(f"'scenes' is {scenes.dtype} {scenes.shape}, expected {count} references to texts")
    return [_text(file, reference) for reference in read_all(scenes, "scenes").ravel()]


def _text(file: h5py.File, reference: h5py.h5r.Reference) -> str:
    """The text that a reference points to: MATLAB keeps a number per character."""
    characters = referred(file, reference, "scenes")
    if characters.dtype.kind != "u" or not 0 < math.prod(characters.shape) <= _LONGEST_NAME:
        raise ValueError(f"a scene is {characters.dtype} {characters.shape}, expected the characters of a name")
    return "".join(map(chr, read_all(characters, "scenes").ravel()))


def _split(path: Path, count: int) -> dict[Split, Int64[np.ndarray, " n"]]:
    """Indices of both splits, counted from 0; a file that is damaged or does not divide the images is refused."""
    size = path.stat().st_size
    if size > _LARGEST_SPLIT_FILE:
        raise ValueError(f"{path}: has {size} bytes, expected a few thousand; take the original file")
    try:
        if large := [name for name, shape, _ in whosmat(path) if math.prod(shape) > _MOST_VALUES]:
            raise ValueError(f"{large[0]} has more than {_MOST_VALUES} values")
        content = loadmat(path, variable_names=list(_SPLIT_KEYS.values()))
        indices: dict[Split, np.ndarray] = {
            split: np.asarray(content[key]).astype(np.int64).ravel() - 1 for split, key in _SPLIT_KEYS.items()
        }
    except _MAT_ERRORS as error:
        refuse_unreadable(path, error)
        raise ValueError(
            f"{path}: damaged or cut short ({error}); expected {' and '.join(_SPLIT_KEYS.values())}"
        ) from error
    both = np.concatenate(list(indices.values()))
    if both.size == 0 or both.min() < 0 or both.max() >= count or np.unique(both).size != both.size:
        raise ValueError(f"{path}: expected every number of 1 .. {count} at most once over both splits, found others")
    return indices


def _entries(scenes: list[str], split: dict[Split, Int64[np.ndarray, " n"]]) -> list[Entry]:
    return [
        Entry(Frame(f"{scenes[index]}/{index:05d}", scene_of_folder(scenes[index]), name), int(index))
        for name, indices in split.items()
        for index in np.sort(indices)
    ]
