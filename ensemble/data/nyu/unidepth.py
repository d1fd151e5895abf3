"""UniDepth's copy: one HDF5 file ``nyuv2.hdf5`` that holds image files as bytes, and the lists of both splits.

Verified against UniDepth's ``unidepth/datasets/nyuv2.py`` and ``image_dataset.py``: the lists are members
``nyu_train.txt`` and ``nyu_test.txt``, ASCII bytes with a final newline, lines of ``rgb depth focal``; the names are
paths of members from the root of the file, each the bytes of an image file (uint8); depth is millimetres. From memory:
that these paths are BTS's (``kitchen_0028b/rgb_00045.jpg``) and depth files are 16-bit PNG.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
from jaxtyping import Float32, UInt8

from ensemble.data.copies import Contents, NyuSource, Problem, problem_of, without_doubles
from ensemble.data.formats.hdf5 import member, member_names, opened, read_all
from ensemble.data.formats.images import decode_depth_mm, decode_rgb
from ensemble.data.nyu.files import SPLITS, split_type_folders
from ensemble.data.nyu.lists import ListedPair, read_lines
from ensemble.data.source import Entry, Frame, Split
from ensemble.data.splits import scene_of_folder

FILES = ("nyuv2.hdf5", "nyuv2.h5")
_LISTS: Mapping[Split, str] = {"train": "nyu_train.txt", "test": "nyu_test.txt"}
_MILLIMETRES = np.float32(1000)


@dataclass(frozen=True)
class BlobReader:
    """Reads image files out of one HDF5 file."""

    path: Path

    def image(self, place: ListedPair) -> UInt8[np.ndarray, "h w 3"]:
        """The image."""
        return decode_rgb(self._bytes(place.rgb), self._name(place.rgb))

    def depth(self, place: ListedPair) -> Float32[np.ndarray, "h w"]:
        """Metres, 0 where nothing was measured."""
        return decode_depth_mm(self._bytes(place.depth), self.where(place)) / _MILLIMETRES

    def check(self, place: ListedPair) -> None:
        """Nothing: the members were listed when the copy was opened, and a file that is cut short does not open."""

    def stamp(self, place: ListedPair) -> str:
        """The size of the whole file; that of a member would need a look into it."""
        return str(self.path.stat().st_size)

    def where(self, place: ListedPair) -> str:
        """File and member of the depth."""
        return self._name(place.depth)

    def _name(self, name: PurePosixPath) -> str:
        return f"{self.path}, {name}"

    def _bytes(self, name: PurePosixPath) -> bytes:
        with opened(self.path, self._name(name)) as file:
            return bytes_of(file, str(name))


def contents(root: Path) -> Contents:
    """The frames that the lists inside of the file name."""
    path = next((root / name for name in FILES if (root / name).is_file()), None)
    if path is None:
        raise ValueError(f"{root}: expected {FILES[0]}, found none")
    entries: list[Entry] = []
    problems: list[Problem] = []
    try:
        with opened(path, str(path)) as file:
            for split in SPLITS:
                entries += _listed(file, path, split, problems)
    except ValueError as error:
        problems.append(problem_of(error))
    named = split_type_folders(without_doubles(entries, problems))
    return Contents(NyuSource(root, tuple(named), BlobReader(path)), tuple(problems))


def bytes_of(file: h5py.File, name: str) -> bytes:
    """The bytes that a member holds."""
    dataset = member(file, name)
    if dataset.ndim > 1 or dataset.dtype.kind not in "uiSV" or (dataset.ndim and dataset.dtype.itemsize != 1):
        raise ValueError(f"'{name}' is {dataset.dtype} {dataset.shape}, expected the bytes of a file (uint8)")
    return read_all(dataset, name).tobytes()


def _listed(file: h5py.File, path: Path, split: Split, problems: list[Problem]) -> list[Entry]:
    name = _LISTS[split]
    if name not in member_names(file, "."):
        problems.append(Problem("missing", f"{path}, {name}"))
        return []
    text = bytes_of(file, name).rstrip(b"\0").decode("utf-8", errors="replace")
    lines, wrong = read_lines(text, f"{path}, {name}")
    problems += wrong
    names_in = cache(lambda folder: member_names(file, str(folder)))
    entries = []
    for line in lines:
        missing = [Problem("missing", f"{path}, {part}") for part in line if part.name not in names_in(part.parent)]
        problems += missing
        if not missing:
            entries.append(Entry(Frame(line.name, scene_of_folder(line.rgb.parent.name), split), line))
    return entries
