"""Depth maps from elsewhere: which file belongs to which frame, and the numbers in it.

A folder holds one file per frame, called by the frame's id: ``group_031/rgb_00412.png``, or flat, with ``__`` for every
``/``: ``group_031__rgb_00412.npy``. A single HDF5 file in place of the folder holds one dataset per frame, called so.
Nothing is repaired here, and nothing outside of a file is read.
"""

import io
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float32, Shaped

from ensemble.data.formats.depth_files import READERS, check_map, read_hdf5
from ensemble.data.formats.hdf5 import member_names, opened
from ensemble.runs.files import write_bytes
from ensemble.runs.refusals import expect_file, refuse_unreadable
from ensemble.settings.schema import Alignment, DataSettings
from ensemble.settings.units import ROTATED, per_metre

HDF5_SUFFIXES = (".h5", ".hdf5")
SUFFIXES = tuple(READERS)

_DAMAGE = (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError)
_DEEPEST = 8


@dataclass(frozen=True)
class DepthFile:
    """The file with the depth map of a frame, and its dataset in an HDF5 file that holds many."""

    path: Path
    dataset: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.dataset is None else f"{self.path}, dataset {self.dataset}"


def save_npy(path: Path, values: Shaped[np.ndarray, "*any"]) -> None:
    """Write an array as float32, all of it or nothing."""
    buffer = io.BytesIO()
    np.save(buffer, values.astype(np.float32), allow_pickle=False)
    write_bytes(path, buffer.getvalue())


@contextmanager
def mended_by(command: str) -> Iterator[None]:
    """End every complaint about a depth map with the command to run once the files are mended."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{error}. Mend the files, then\nRun: {command}") from error


def find_depth_maps(
    place: Path, frame_ids: Collection[str], *, others: Collection[str], what: str
) -> dict[str, DepthFile]:
    """The depth map of every frame, each exactly once, in a folder or an HDF5 file with a dataset per frame.

    Maps of the ``others`` that there are as well are left alone; ``what`` names the kind of the wanted frames in
    messages.

    Raises:
        ValueError: Frames have no map or several, a name is that of no frame, or the HDF5 file is damaged; all are
            counted, the first is named.
    """
    wanted, known = set(frame_ids), {*frame_ids, *others}
    maps: dict[str, list[DepthFile]] = {}
    unknown: list[DepthFile] = []
    for name, file in depth_files(place):
        frame_id = name if name in known else name.replace("__", "/")
        if frame_id in wanted:
            maps.setdefault(frame_id, []).append(file)
        elif frame_id not in known:
            unknown.append(file)
    missing = [frame_id for frame_id in frame_ids if frame_id not in maps]
    doubled = [frame_id for frame_id in frame_ids if len(maps.get(frame_id, ())) > 1]
    problem = ""
    if doubled:
        first = " and ".join(str(file) for file in maps[doubled[0]])
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
    return {frame_id: maps[frame_id][0] for frame_id in frame_ids}


def read_numbers(file: DepthFile) -> Shaped[np.ndarray, "h w"]:
    """The numbers of a depth map as they stand in its file.

    Raises:
        ValueError: It cannot be read, is damaged, points outside of itself, or is no map of real or whole numbers of
            more than 8 bits.
    """
    suffix = file.path.suffix.lower()
    try:
        expect_file(file.path)
        array = read_hdf5(file.path, file.dataset) if suffix in HDF5_SUFFIXES else READERS[suffix](file.path)
    except _DAMAGE as error:
        refuse_unreadable(file, error)
        if str(error).startswith(str(file.path)):
            raise
        raise ValueError(f"{file}: damaged or not as expected ({error})") from error
    try:
        sides = check_map(array.shape, array.dtype)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return np.array(array).reshape(sides)


def as_metres(numbers: Shaped[np.ndarray, "h w"], unit: str | None) -> Float32[np.ndarray, "h w"]:
    """Depth in metres; where no unit is given, whole numbers are millimetres and real ones metres."""
    if unit == ROTATED:
        bits = numbers.astype(np.uint16)
        numbers = (bits >> 3) | (bits << 13)
    return (numbers.astype(np.float64) / per_metre(unit or likely_unit(numbers))).astype(np.float32)


def likely_unit(numbers: Shaped[np.ndarray, "h w"]) -> str:
    """What numbers count as where nobody says: millimetres if they are whole, else metres."""
    return "mm" if numbers.dtype.kind in "ui" else "m"


def aligned(
    metres: Float32[np.ndarray, "h w"], alignment: Alignment, data: DataSettings
) -> tuple[Float32[np.ndarray, "h w"], int]:
    """Depth by scale and shift, held in the depth range; and how many pixels were held."""
    free = alignment.scale * metres.astype(np.float64) + alignment.shift
    held = np.clip(free, data.min_depth, data.max_depth).astype(np.float32)
    return held, int(np.count_nonzero(held != free.astype(np.float32)))


def depth_files(place: Path) -> Iterator[tuple[str, DepthFile]]:
    """Every depth map with the name that it goes by; refuses what is no folder and no HDF5 file."""
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
