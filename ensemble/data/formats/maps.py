"""Depth maps from elsewhere: which file belongs to which frame, and the numbers in it.

A folder holds one file per frame, called by the frame's id: ``group_031/rgb_00412.png``, or flat, with ``__`` for every
``/``: ``group_031__rgb_00412.npy``; what commands and other systems put behind a name (``map_names``) may stay. A
single HDF5 file in place of the folder holds one dataset per frame, called so; a recording of Record3D has numbers for
names.
Nothing is repaired here, and nothing outside of a file is read.
"""

import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped

from ensemble.data.formats.depth_files import READERS, check_map, read_hdf5
from ensemble.data.formats.images import no_millimetres
from ensemble.data.formats.map_names import frame_name, without_ending
from ensemble.data.formats.record3d import SUFFIX as RECORD3D
from ensemble.data.formats.record3d import frames_of, read_frame
from ensemble.data.intrinsics import Intrinsics
from ensemble.photographs.folders import files_below
from ensemble.runs.refusals import expect_file, refuse_unreadable
from ensemble.settings.schema import Alignment, ImportSettings
from ensemble.settings.units import ROTATED, per_metre

HDF5_SUFFIXES = (".h5", ".hdf5")
SUFFIXES = tuple(READERS)
SAME_ASPECT = 0.01
"""Relative difference of two ratios of height to width that is put down to rounding."""
LIKELY_CHANGE = 4.0
"""How many times larger or smaller depth may be, in the median of frames, than that of others."""
HOLES = 0.001
"""Share of equal marks from which on a map without a scale has holes; one that is normalised has a zero or two."""
HOLE_MARKS, FAR = (-1, 65535), 100
"""Numbers, beside 0, that stand for nothing measured, and how many medians away only what stands for the sky is."""

_DAMAGE = (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError)
_DEEPEST = 8
_OF_MANY = {**dict.fromkeys(HDF5_SUFFIXES, read_hdf5), RECORD3D: read_frame}
"""Readers of files that may hold many maps, by the end of their name."""


@dataclass(frozen=True)
class DepthFile:
    """The file with the depth map of a frame, and its dataset or number where the file holds many."""

    path: Path
    dataset: str | None = None

    def __str__(self) -> str:
        what = "frame" if self.path.suffix.lower() == RECORD3D else "dataset"
        return str(self.path) if self.dataset is None else f"{self.path}, {what} {self.dataset}"


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
    for name, file in depth_files(place, known):
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


def read_numbers(file: DepthFile, *, told: bool = False) -> Shaped[np.ndarray, "h w"]:
    """The numbers of a depth map as they stand in its file.

    Args:
        file: Of the map.
        told: Somebody says what they count: near frames of some units have such small ones as 8 bits hold.

    Raises:
        ValueError: It cannot be read, is damaged, points outside of itself, or is no map of real or whole numbers of
            more than 8 bits.
    """
    suffix = file.path.suffix.lower()
    try:
        expect_file(file.path)
        array = _OF_MANY[suffix](file.path, file.dataset) if suffix in _OF_MANY else READERS[suffix](file.path)
    except _DAMAGE as error:
        refuse_unreadable(file, error)
        if str(error).startswith(str(file.path)):
            raise
        raise ValueError(f"{file}: damaged or not as expected ({error})") from error
    try:
        sides = check_map(array.shape, array.dtype)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    if not told and (problem := too_small(file, array)):
        raise ValueError(problem)
    return np.array(array).reshape(sides)


def too_small(file: DepthFile, numbers: Shaped[np.ndarray, "h w"]) -> str:
    """What is said of a PNG whose whole numbers are no millimetres, as which they are read; empty of all others."""
    if file.path.suffix.lower() != ".png" or numbers.dtype.kind != "u":
        return ""
    problem = no_millimetres(numbers)
    return f"{file}: {problem}" if problem else ""


def as_metres(numbers: Shaped[np.ndarray, "h w"], unit: str | None) -> Float32[np.ndarray, "h w"]:
    """Depth in metres; where no unit is given, whole numbers are millimetres and real ones metres."""
    if unit == ROTATED:
        bits = numbers.astype(np.uint16)
        numbers = (bits >> 3) | (bits << 13)
    return (numbers.astype(np.float64) / per_metre(unit or likely_unit(numbers))).astype(np.float32)


def likely_unit(numbers: Shaped[np.ndarray, "h w"]) -> str:
    """What numbers count as where nobody says: millimetres if they are whole, else metres."""
    return "mm" if numbers.dtype.kind in "ui" else "m"


def as_read(numbers: Shaped[np.ndarray, "h w"], settings: ImportSettings) -> Float32[np.ndarray, "h w"]:
    """What the numbers of an imported learner count before they are aligned, along the axis of the camera."""
    values, rays = as_metres(numbers, settings.unit), settings.rays
    if rays is None:
        return values
    size, (height, width) = rays.size or values.shape, values.shape
    across, down = rays.centre or ((size[1] - 1) / 2, (size[0] - 1) / 2)
    camera = Intrinsics(rays.focal, rays.focal, across, down).resized(size, (height, width))
    return (values * camera.axis_share((height, width))).astype(np.float32)


def aligned(values: Float32[np.ndarray, "h w"], settings: ImportSettings) -> tuple[Float32[np.ndarray, "h w"], int]:
    """Metres by scale and shift, held in the depth range, and how many pixels were held; metres as they are without."""
    alignment, least, most = settings.alignment, settings.data.min_depth, settings.data.max_depth
    if alignment is None:
        return values, 0
    free = alignment.scale * values.astype(np.float64) + alignment.shift
    if settings.inverse:
        least, most = 1 / most, 1 / least
    held = np.clip(free, least, most)
    return (1 / held if settings.inverse else held).astype(np.float32), int(np.count_nonzero(held != free))


def of_one_scale(now: float, then: float, alignment: Alignment | None, change: float = LIKELY_CHANGE) -> bool:
    """Whether two medians of maps of one learner, as read, can be of the same unit and scale, whatever the scenes."""
    if alignment is not None:
        now, then = (alignment.scale * median + alignment.shift for median in (now, then))
    return then <= 0 or (now > 0 and 1 / change <= now / then <= change)


def check_shape(size: tuple[int, ...], where: str, sizes: Collection[tuple[int, ...]]) -> None:
    """Refuse a map that is no whole frame of one of these heights and widths, at any scale."""
    if not has_shape_of(sizes, size):
        height, width = size
        known = " or ".join(sorted(f"{rows}x{columns}" for rows, columns in sizes))
        raise ValueError(
            f"{where}: {height}x{width} pixels have another shape than the frames ({known}); expected the whole frame "
            "at any size, neither cropped nor stretched"
        )


def has_shape_of(sizes: Collection[tuple[int, ...]], size: tuple[int, ...]) -> bool:
    """Whether a height and width is that of one of the sizes, at any scale."""
    height, width = size
    return any(abs((height / width) / (rows / columns) - 1) <= SAME_ASPECT for rows, columns in sizes)


def check_values(values: Float32[np.ndarray, "h w"], where: str, *, positive: bool) -> None:
    """Refuse a map that is not filled with numbers that a network predicted; ``check_marks`` looks at those of a file.

    Args:
        values: What the numbers count.
        where: Names the map in errors.
        positive: Values are metres; without a scale they may be negative.

    Raises:
        ValueError: Some are not finite, or so many stand for what could not be measured.
    """
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        raise ValueError(
            f"{where}: {bad} of {values.size} pixels are NaN or infinite; expected depth everywhere, nothing is "
            "repaired here"
        )
    expected = "expected the predicted depth of every pixel, holes are for measurements"
    if holes := int(np.count_nonzero(values <= 0)):
        marked = int(np.count_nonzero(values == 0))
        if positive or marked > HOLES * values.size:
            raise ValueError(f"{where}: {holes} of {values.size} pixels are 0 or negative; {expected}")
    far = FAR * float(np.median(np.abs(values)))
    if far > 0 and (marked := int(np.count_nonzero(values > far))) > HOLES * values.size:
        raise ValueError(
            f"{where}: {marked} of {values.size} pixels are more than {FAR} times the median, as the sky or holes are "
            f"marked (such as {float(values.max()):g}); {expected}"
        )


def check_marks(numbers: Shaped[np.ndarray, "h w"], where: str) -> None:
    """Refuse a map in which one of the numbers that mark holes stands so often that it does.

    Raises:
        ValueError: It does; ``where`` names the map.
    """
    if numbers.dtype == np.float16:
        numbers = numbers.astype(np.float32)  # 65535 is none of its numbers
    for mark in HOLE_MARKS:
        if (marked := int(np.count_nonzero(numbers == mark))) > HOLES * numbers.size:
            raise ValueError(
                f"{where}: {marked} of {numbers.size} pixels are {mark}, as holes are marked, by others with 0 or NaN; "
                "expected the predicted depth of every pixel, holes are for measurements"
            )


def depth_files(place: Path, frames: Collection[str] = ()) -> Iterator[tuple[str, DepthFile]]:
    """Every depth map with the name that it goes by; refuses what is no folder and no HDF5 file.

    Names of ``frames``, where these are known, are taken as they are.
    """
    if place.is_dir():
        files = [path for path in files_below(place) if path.suffix.lower() in SUFFIXES and path.is_file()]
        named = ((frame_name(path.relative_to(place)), DepthFile(path)) for path in files)
        yield from without_ending(named, place, frames)
    elif place.is_file() and place.suffix.lower() in HDF5_SUFFIXES:
        for name in _datasets(place):
            yield name, DepthFile(place, name)
    elif place.is_file() and place.suffix.lower() == RECORD3D:
        for number in _frames_of(place):
            yield number, DepthFile(place, number)
    else:
        found = "a file of another kind" if place.exists() else "nothing"
        raise ValueError(
            f"{place}: expected a folder of depth maps, or one file with all of them (HDF5, {RECORD3D}), found {found}"
        )


def _frames_of(place: Path) -> list[str]:
    try:
        return frames_of(place)
    except _DAMAGE as error:
        refuse_unreadable(place, error)
        raise ValueError(f"{place}: damaged or no recording ({error}); take the original file") from error


def _datasets(place: Path) -> list[str]:
    """Paths of everything in an HDF5 file that is no group with members."""
    from ensemble.data.formats.hdf5 import member_names, opened  # h5py, when there is such a file

    def below(group: str, depth: int = 0) -> Iterator[str]:
        if depth > _DEEPEST:
            raise ValueError(f"groups lie {depth} deep in '{group}', expected names of frames")
        for name in sorted(member_names(file, group)):
            path = f"{group}/{name}" if group else name
            if member_names(file, path):
                yield from below(path, depth + 1)
            else:
                yield path

    with opened(place, str(place)) as file:
        return list(below(""))
