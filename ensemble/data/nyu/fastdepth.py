"""The copy of FastDepth and sparse-to-dense: one HDF5 file per frame, in-filled depth in metres.

Verified against FastDepth's ``dataloaders/dataloader.py`` (keys ``rgb`` [3 h w] and ``depth`` [h w]) and the list of
NLSPN, ``data_json/nyu.json``: folders are recordings with their part letters (``train/kitchen_0028a/00251.h5``), and
test files are numbered as in the labeled set, counted from 1 (``val/official/00001.h5`` .. ``01449.h5``). From memory:
the depth is float32; float16 is read as well.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32, UInt8

from ensemble.data.copies import Contents, NyuSource, dead_links, without_doubles
from ensemble.data.formats.hdf5 import check_end, member, opened, read_all
from ensemble.data.nyu.scenes import with_runs_for_scenes
from ensemble.data.source import Entry, Frame, Split
from ensemble.data.splits import scene_of_folder
from ensemble.photographs.folders import is_hidden
from ensemble.runs.refusals import refuse_unreadable

FARTHEST = 100.0
"""Metres: no indoor depth; beyond, the unit is not metres."""

_SPLIT_FOLDERS: dict[Split, str] = {"train": "train", "test": "val"}
_BASES = (".", "nyudepthv2", "nyu_depth_v2")
_OFFICIAL = "official"


class H5Reader:
    """Reads files with ``rgb`` and ``depth``."""

    def content(self, place: Any) -> Path | bytes:
        """The file, or what is in it."""
        return place

    def image(self, place: Any) -> UInt8[np.ndarray, "h w 3"]:
        """The image."""
        with frame_members(self.content(place), self.where(place)) as (rgb, _):
            return np.ascontiguousarray(read_all(rgb, "rgb").transpose(1, 2, 0))

    def depth(self, place: Any) -> Float32[np.ndarray, "h w"]:
        """Metres, 0 where nothing is known."""
        with frame_members(self.content(place), self.where(place)) as (_, depth):
            return plausible_metres(read_all(depth, "depth").astype(np.float32, copy=False), "depth")

    def check(self, place: Any) -> None:
        """The file has its full length."""
        try:
            with place.open("rb") as file:
                check_end(file.read(64), place.stat().st_size, str(place))
        except OSError as error:
            refuse_unreadable(place, error)
            raise

    def stamp(self, place: Any) -> str:
        """The size of the file."""
        return str(place.stat().st_size)

    def where(self, place: Any) -> str:
        """The file."""
        return str(place)


def contents(root: Path) -> Contents:
    """The frames of ``train/<scene>/*.h5`` and ``val/official/*.h5``."""
    base = find_base(root) or root
    entries: list[Entry] = []
    problems = dead_links(*(base / folder for folder in _SPLIT_FOLDERS.values()))
    for split, folder in _SPLIT_FOLDERS.items():
        found = (base / folder).glob("*/*.h5")
        paths = sorted(path for path in found if not is_hidden(path.relative_to(base)))
        entries.extend(Entry(frame_of(path.parent.name, path.stem, split), path) for path in paths)
    named = official_scenes(without_doubles(entries, problems))
    return Contents(NyuSource(root, tuple(named), H5Reader()), tuple(problems))


def find_base(root: Path) -> Path | None:
    """The folder with ``train`` and ``val``: the root, or the one that the archive unpacks to."""
    patterns = [f"{folder}/*/*.h5" for folder in _SPLIT_FOLDERS.values()]
    bases = (root / base for base in _BASES)
    return next((base for base in bases if any(next(base.glob(pattern), None) for pattern in patterns)), None)


def frame_of(folder: str, stem: str, split: Split) -> Frame:
    """The frame of ``<folder>/<stem>.h5``."""
    return Frame(f"{folder}/{stem}", scene_of_folder(folder), split)


def official_scenes(entries: Sequence[Entry]) -> list[Entry]:
    """All official images lie in one folder; runs of their numbers stand for scenes."""
    return with_runs_for_scenes(entries, _OFFICIAL, _official_number)


def _official_number(frame: Frame) -> int | None:
    name = frame.id.rpartition("/")[2]
    return int(name) if frame.scene == _OFFICIAL and name.isdecimal() else None


@contextmanager
def frame_members(content: Path | bytes, where: str) -> Iterator[tuple[h5py.Dataset, h5py.Dataset]]:
    """Image and depth in a file, once it is sure that they lie in it and have shapes and types of a frame.

    Raises:
        ValueError: Says what was found instead.
    """
    with opened(content, where) as file:
        rgb, depth = member(file, "rgb"), member(file, "depth")
        if rgb.ndim != 3 or rgb.shape[0] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"'rgb' is {rgb.dtype} {rgb.shape}, expected uint8 (3, height, width)")
        if depth.ndim != 2 or depth.dtype not in (np.float32, np.float16):
            found = f"'depth' is {depth.dtype} {depth.shape}"
            raise ValueError(f"{found}, expected float32 or float16 (height, width) metres")
        yield rgb, depth


def plausible_metres(depth: Float32[np.ndarray, "h w"], name: str) -> Float32[np.ndarray, "h w"]:
    """The same depth, refused where values are not finite, negative, or too far for a room in metres."""
    low, high = float(depth.min(initial=0)), float(depth.max(initial=0))  # not a number where one value is none
    if not (low >= 0 and np.isfinite(high)):
        broken = int((~np.isfinite(depth) | (depth < 0)).sum())
        raise ValueError(f"'{name}' has {broken} values that are negative or not finite, expected metres")
    if high > FARTHEST:
        raise ValueError(f"'{name}' reaches {high:.0f}, expected metres: these may be millimetres")
    return depth
