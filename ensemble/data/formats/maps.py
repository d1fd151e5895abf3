"""Depth maps from elsewhere: which file belongs to which frame, and the numbers in it.

A folder holds one file per frame, called by the frame's id: ``group_031/rgb_00412.png``, or flat, with ``__`` for every
``/``: ``group_031__rgb_00412.npy``. A single HDF5 file in place of the folder holds one dataset per frame, called so.
Nothing is repaired here, and nothing outside of a file is read.
"""

import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from jaxtyping import Float32, Shaped

from ensemble.data.formats.hdf5 import LARGEST_MEMBER_BYTES, member, member_names, opened, read_all
from ensemble.data.formats.images import read_depth_mm
from ensemble.runs.refusals import refuse_unreadable

HDF5_SUFFIXES = (".h5", ".hdf5")
SUFFIXES = (".png", ".npy", ".npz", *HDF5_SUFFIXES)
DATASET = "depth"
"""Name of the depth map in an HDF5 file of a single frame."""

_DAMAGE = (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError)
_DEEPEST = 8


@dataclass(frozen=True)
class DepthFile:
    """Where the depth map of a frame lies.

    Attributes:
        path: The file.
        dataset: Name in an HDF5 file that holds many frames; ``None`` where the file holds this frame alone.
    """

    path: Path
    dataset: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.dataset is None else f"{self.path}, dataset {self.dataset}"


@contextmanager
def mended_by(command: str) -> Iterator[None]:
    """End every complaint about a depth map with what to do.

    Args:
        command: To run once the files are mended.
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{error}. Mend the files, then\nRun: {command}") from error


def find_depth_maps(
    place: Path, frame_ids: Collection[str], *, others: Collection[str], what: str
) -> dict[str, DepthFile]:
    """The depth map of every frame, each exactly once.

    Args:
        place: A folder, or an HDF5 file with a dataset per frame.
        frame_ids: What is wanted.
        others: Further frames that there are; their maps are left alone.
        what: Kind of the wanted frames, for messages.

    Raises:
        ValueError: Frames have no map or several, a name is that of no frame, or the HDF5 file is damaged; all are
            counted, the first is named.
    """
    wanted, known = set(frame_ids), {*frame_ids, *others}
    found: dict[str, list[DepthFile]] = {}
    unknown: list[DepthFile] = []
    for name, file in _named_files(place):
        frame_id = name if name in known else name.replace("__", "/")
        if frame_id in wanted:
            found.setdefault(frame_id, []).append(file)
        elif frame_id not in known:
            unknown.append(file)
    missing = [frame_id for frame_id in frame_ids if frame_id not in found]
    doubled = [frame_id for frame_id in frame_ids if len(found.get(frame_id, ())) > 1]
    problem = ""
    if doubled:
        first = " and ".join(str(file) for file in found[doubled[0]])
        problem = f"{len(doubled)} of {len(wanted)} {what} frames have more than one depth map (first: {first})"
    elif unknown:
        problem = (
            f"{len(unknown)} depth maps are called by no frame of the data (first: {unknown[0]}); expected names such "
            f"as {next(iter(frame_ids))}"
        )
    elif missing:
        problem = (
            f"{len(missing)} of {len(wanted)} {what} frames have no depth map (first: {missing[0]}); expected files "
            f"called so, ending in {', '.join(SUFFIXES)}"
        )
    if problem:
        raise ValueError(f"{place}: {problem}")
    return {frame_id: found[frame_id][0] for frame_id in frame_ids}


def read_numbers(file: DepthFile) -> Shaped[np.ndarray, "h w"]:
    """The numbers of a depth map as they stand in its file.

    Raises:
        ValueError: It cannot be read, is damaged, points outside of itself, or is no map of real or whole numbers of
            more than 8 bits.
    """
    suffix = file.path.suffix.lower()
    if suffix == ".png":
        return read_depth_mm(file.path)
    if suffix in HDF5_SUFFIXES:
        with opened(file.path, str(file.path)) as hdf5:
            name = file.dataset or DATASET
            dataset = member(hdf5, name)
            _check_kind(dataset.shape, dataset.dtype, str(file))
            return read_all(dataset, name)
    try:
        array = _from_numpy(file.path)
    except _DAMAGE as error:
        refuse_unreadable(file, error)
        raise ValueError(f"{file}: damaged or not as expected ({error}); expected one NumPy array") from error
    _check_kind(array.shape, array.dtype, str(file))
    return np.array(array)


def as_metres(numbers: Shaped[np.ndarray, "h w"], unit: Literal["m", "mm"] | None) -> Float32[np.ndarray, "h w"]:
    """Depth in metres; where no unit is given, whole numbers are millimetres and real ones metres."""
    millimetres = unit == "mm" if unit is not None else numbers.dtype.kind in "ui"
    return (numbers.astype(np.float64) / (1000 if millimetres else 1)).astype(np.float32)


def _from_numpy(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".npy":
        return np.lib.format.open_memmap(path, mode="r")  # a map cannot claim more than the file holds
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) != 1 or members[0].file_size > LARGEST_MEMBER_BYTES:
            raise ValueError(f"{len(members)} arrays of {sum(each.file_size for each in members)} bytes, expected one")
        with archive.open(members[0]) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)


def _check_kind(shape: tuple[int, ...], dtype: np.dtype, where: str) -> None:
    if len(shape) != 2 or not all(shape):
        raise ValueError(f"{where}: expected a depth map of height x width, found an array of shape {shape}")
    if dtype.kind not in "fui":
        raise ValueError(f"{where}: expected real numbers (metres) or whole ones (millimetres), found {dtype}")
    if dtype.itemsize == 1:
        raise ValueError(f"{where}: expected depth of 16 bits or more, found {dtype}: 8 bits have lost the scale")


def _named_files(place: Path) -> Iterator[tuple[str, DepthFile]]:
    """Every depth map with the name that it goes by.

    Raises:
        ValueError: There is no such folder or file, or it holds no depth maps.
    """
    if place.is_dir():
        files = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        for path in files:
            yield path.relative_to(place).with_suffix("").as_posix(), DepthFile(path)
    elif place.is_file() and place.suffix.lower() in HDF5_SUFFIXES:
        with opened(place, str(place)) as file:
            names = list(_datasets(file, ""))
        for name in names:
            yield name, DepthFile(place, name)
    else:
        found = "a file of another kind" if place.exists() else "nothing"
        raise ValueError(f"{place}: expected a folder of depth maps, or one HDF5 file with all of them, found {found}")


def _datasets(file: h5py.File, group: str, depth: int = 0) -> Iterator[str]:
    """Paths of everything in an HDF5 file that is no group with members."""
    if depth > _DEEPEST:
        raise ValueError(f"groups lie {depth} deep in '{group}', expected names of frames")
    for name in sorted(member_names(file, group)):
        path = f"{group}/{name}" if group else name
        if member_names(file, path):
            yield from _datasets(file, path, depth + 1)
        else:
            yield path
