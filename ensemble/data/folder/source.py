"""Images and depth maps of one's own as a source of frames."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from ensemble.data.copies import ShapeError
from ensemble.data.folder.listing import Listing, Pair, list_folder, told
from ensemble.data.formats.depth_files import READERS, check_map
from ensemble.data.formats.images import check_end
from ensemble.data.formats.maps import DepthFile, as_metres, likely_unit, read_numbers
from ensemble.data.formats.photographs import read_photograph
from ensemble.data.intrinsics import Intrinsics
from ensemble.data.roots import root_of
from ensemble.data.source import Frame, ListedFrames, RawFrame
from ensemble.data.splits import evenly_spread, frames_not_tested_on
from ensemble.runs.fingerprints import lines_fingerprint
from ensemble.runs.refusals import refuse_unreadable
from ensemble.settings.schema import DataSettings, FolderSettings
from ensemble.settings.trees import SettingsError, assignments_of, flat
from ensemble.settings.units import PER_METRE, per_metre

LOOKED_AT, DECODED = 1000, 5
"""Frames of training, evenly spread, whose files are looked at before any work is done, and that are decoded."""

ROUNDING = 0.02
"""Relative difference of two ratios of height to width that is put down to rounding: of depth and its image."""

SQUEEZED = 0.15
"""Likewise of an image and ``data.size``: up to here it may be squeezed."""

NEGATIVE = 0.01
"""Share of a map's pixels that may be negative without being one number."""

_WITH_ENDS, _ARRAY = (".png", ".jpg", ".jpeg"), ".npy"
_ORIENTATION, _QUARTER_TURN = 0x0112, 5
"""EXIF's tag, and the first of its values that exchange height and width."""


@dataclass(frozen=True)
class FolderSource(ListedFrames[Pair]):
    """The frames of a folder; ``settings`` say how their depth is read and what shape they have."""

    settings: DataSettings

    @property
    def name(self) -> str:
        """The kind of data."""
        return self.settings.kind

    def read(self, frame: Frame) -> RawFrame:
        """Image and depth of a frame at the size of its image; zero, negative and NaN depth is no truth.

        Depth of another size and the same shape is brought to that of the image by nearest neighbour.

        Raises:
            ValueError: A file is damaged or not what it should be, or the shapes differ.
        """
        image = self.read_image(frame)
        unit = self.settings.folder.unit
        depth = as_metres(read_numbers(DepthFile(self.depth_file(frame)), told=unit is not None), unit)
        size = image.shape[0], image.shape[1]
        self._check_depth_shape(frame, depth.shape, size)
        _check_negative(self.depth_file(frame), depth)
        depth = _nearest(depth, size)
        valid = np.isfinite(depth) & (depth > 0)
        return RawFrame(image, np.where(valid, depth, np.float32(0)), valid, self._intrinsics(size))

    def read_image(self, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
        """The image alone, upright and as RGB; refused where it is no image of 8 bits, or not of the expected shape."""
        path = self.image_file(frame)
        photograph = read_photograph(path)
        _check_bits(path, photograph.mode)
        self._check_shape(path, photograph.pixels.shape[:2])
        return photograph.pixels

    def check(self, frame: Frame) -> None:
        """Refuses files that are not there, cut short or of another shape, as far as that shows without decoding."""
        pair = self._place(frame)
        image, depth = self.root / pair.image, self.root / pair.depth
        for path in (image, depth):
            _bytes(path)
            if path.suffix.lower() in _WITH_ENDS:
                check_end(path)
        size, mode = _header(image)
        _check_bits(image, mode)
        depth_size = _array_size(depth) if depth.suffix.lower() == _ARRAY else _header(depth)[0]
        if size is not None:
            self._check_shape(image, size)
        if size is not None and depth_size is not None:
            self._check_depth_shape(frame, depth_size, size)

    def describe(self, frames: Sequence[Frame]) -> str:
        """Fingerprint of ids, splits, sizes of files, unit and camera: replaced files are noticed without reading."""
        own = self.settings.folder
        lines = [f"{self.name} 1 {own.unit} {own.intrinsics}"]
        for frame in frames:
            sizes = " ".join(str(_bytes(self.root / path)) for path in self._place(frame))
            lines.append(f"{frame.split} {frame.id} {sizes}")
        return lines_fingerprint(lines)

    def image_file(self, frame: Frame) -> Path:
        """The file of a frame's image."""
        return self.root / self._place(frame).image

    def depth_file(self, frame: Frame) -> Path:
        """The file of a frame's depth, for messages."""
        return self.root / self._place(frame).depth

    def depth_size(self, frame: Frame) -> tuple[int, ...]:
        """Height and width of a frame's depth as it stands in its file."""
        return read_numbers(DepthFile(self.depth_file(frame)), told=True).shape

    def _check_depth_shape(self, frame: Frame, size: tuple[int, ...], image: tuple[int, int]) -> None:
        if not _same_shape(size, image, ROUNDING):
            place = self._place(frame)
            raise ValueError(
                f"{self.root / place.depth}: {_sides(size)} pixels have another shape than the image, {_sides(image)} "
                f"pixels in {self.root / place.image}; expected the whole frame, neither turned nor cropped"
            )

    def _check_shape(self, path: Path, size: tuple[int, ...]) -> None:
        if _same_shape(size, self.settings.size, SQUEEZED):
            return
        raise ShapeError(
            f"{path}: {_sides(size)} pixels would be squeezed into data.size {_sides(self.settings.size)}; "
            f"{fitting_size(size, self.settings.size)} would fit"
        )

    def _intrinsics(self, size: tuple[int, int]) -> Intrinsics | None:
        camera = self.settings.folder.intrinsics
        if camera is None or not _same_shape(size, camera.frame, ROUNDING):
            return None
        return Intrinsics(camera.fx, camera.fy, camera.cx, camera.cy).resized(camera.frame, size)


def from_settings(settings: DataSettings) -> FolderSource:
    """The frames of the folder that the settings name, once nothing is wrong with their names and a few of training.

    Raises:
        ValueError: Something is; the message ends with the command that looks at all of it.
    """
    root = root_of(settings)
    source, listing = open_folder(root, settings)
    problems = told(listing.problems)
    if not problems:
        try:
            _look(source)
        except ValueError as error:
            problems = [str(error)]
    if problems:
        raise ValueError(f"{root}: {'; '.join(problems)}.\nRun: {doctor_command(root, settings)}")
    return source


def _check_negative(path: Path, depth: Float32[np.ndarray, "h w"]) -> None:
    """Refuse what grows with the distance as depth does and is below 0 where it is near; one number may mark holes."""
    below = depth[depth < 0]
    if below.size > NEGATIVE * depth.size and np.ptp(below) > 0:
        raise ValueError(
            f"{path}: {below.size / depth.size:.1%} of its pixels are negative, down to {below.min():.3g}, "
            "as those of the logarithm of depth are, or of relative depth; expected metres, and 0, NaN or one "
            "negative number where nothing was measured"
        )


@lru_cache(maxsize=4)
def _look(source: FolderSource) -> None:
    """Refuse what is wrong with a few frames of training; once in a process, which opens its data several times."""
    trained_on = frames_not_tested_on(source, source.settings)
    for frame in evenly_spread(trained_on, LOOKED_AT):
        source.check(frame)
    _check_depth(source, evenly_spread(trained_on, DECODED))


def open_folder(root: Path, settings: DataSettings) -> tuple[FolderSource, Listing]:
    """The frames of a folder, and what is wrong with others.

    Raises:
        SettingsError: There is no such folder.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise SettingsError(f"{root}: expected the folder of {settings.facts.title}, found {found}")
    listing = list_folder(root, settings.folder)
    return FolderSource(root, listing.entries, settings), listing


def _check_depth(source: FolderSource, frames: Sequence[Frame]) -> None:
    """Refuse depth that is empty or of an unlikely size."""
    medians = []
    for frame in frames:
        raw = source.read(frame)
        if not raw.valid.any():
            raise ValueError(f"{source.depth_file(frame)}: {no_truth(1)}")
        medians.append(float(np.median(raw.depth[raw.valid])))
    if medians and (text := unlikely(float(np.median(medians)), source, frames[0])):
        raise ValueError(f"{len(medians)} frames of training such as {source.depth_file(frames[0])}: {text}")


def no_truth(count: int) -> str:
    """What is said of depth maps without a measurement."""
    whose = "its pixels" if count == 1 else "their pixels"
    return f"none of {whose} has depth above zero; expected metres where it was measured, take the frame away"


def unlikely(median: float, source: FolderSource, example: Frame) -> str:
    """What is wrong with a median depth in metres of frames such as this one; empty where it is likely."""
    low, high = source.settings.likely_depth
    if low <= median <= high:
        return ""
    given = source.settings.folder.unit
    unit = given or likely_unit(read_numbers(DepthFile(source.depth_file(example)), told=True))
    fits = [name for name, per in PER_METRE.items() if low <= median * per_metre(unit) / per <= high]
    named = [name for name in fits if name in ("m", "mm")] or fits
    other, most = f"data.folder.unit={' or '.join(named)} would fit", "set data.max_depth"
    mend = f"{most}; {other}" if given and named else f"{other}, or {most}" if named else f"{most} or data.folder.unit"
    return (
        f"median depth is {median:.4g} m, expected {low:g} .. {high:g} m with data.max_depth "
        f"{source.settings.max_depth:g} and numbers in {unit}; {mend}"
    )


def doctor_command(root: Path, settings: DataSettings) -> str:
    """The command that looks at everything, with what these settings say otherwise than their kind."""
    own = settings.folder.model_dump(mode="json", exclude={"intrinsics"})
    usual = FolderSettings().model_dump(mode="json")
    chosen = {f"data.folder.{key}": value for key, value in flat(own).items() if value != usual[key]}
    chosen["data.size"] = list(settings.size)
    if settings.max_depth != settings.facts.max_depth:
        chosen["data.max_depth"] = settings.max_depth
    words = [word for each in assignments_of(chosen) for word in ("--set", each)]
    given = ("doctor", str(root), "--data", settings.kind, *words)
    return shlex.join(["python", "-m", "ensemble.data", *given])


def fitting_size(size: Sequence[int], asked: Sequence[int]) -> str:
    """A ``data.size`` of the shape of a frame with about as many pixels as the one asked for, in steps of 16."""
    area, ratio = asked[0] * asked[1], size[0] / size[1]

    def misfit(side: tuple[int, int]) -> float:
        """How far it is from both; a wrong shape cannot be had back, a wrong number of pixels costs time."""
        height, width = side
        return abs(math.log(height * width / area)) + 4 * abs(math.log(height / width / ratio))

    heights = range(32, 2 * max(32, 16 * math.ceil((area * ratio) ** 0.5 / 16)) + 1, 16)
    height, width = min(((each, max(32, 16 * round(each / ratio / 16))) for each in heights), key=misfit)
    return f"data.size=[{height},{width}]"


def _header(path: Path) -> tuple[tuple[int, int] | None, str]:
    """Height and width of a PNG or JPEG, upright, and its mode; nothing of other files."""
    if path.suffix.lower() not in _WITH_ENDS:
        return None, ""
    try:
        with Image.open(path) as image:
            told = image.format == "JPEG" or "exif" in image.info  # to look for it, Pillow would decode a PNG
            turned = told and image.getexif().get(_ORIENTATION, 1) >= _QUARTER_TURN
            return (image.width, image.height) if turned else (image.height, image.width), image.mode
    except (OSError, SyntaxError) as error:
        refuse_unreadable(path, error)
        raise ValueError(f"{path}: damaged ({error}); expected an image, take the original file") from error


def _array_size(path: Path) -> tuple[int, int]:
    """Height and width of an array, whose numbers are not read."""
    try:
        array = READERS[_ARRAY](path)
        return check_map(array.shape, array.dtype)
    except (OSError, ValueError, EOFError) as error:
        refuse_unreadable(path, error)
        raise ValueError(f"{path}: damaged or not as expected ({error})") from error


def _check_bits(path: Path, mode: str) -> None:
    if mode.startswith(("I", "F")):
        raise ValueError(
            f"{path}: found mode {mode!r}, more than 8 bits, as depth has; expected an image. Are data.folder.images "
            "and data.folder.depth confused?"
        )


def _bytes(path: Path) -> int:
    """Size of a file; refused where it is empty, or a link to nothing."""
    try:
        size = path.stat().st_size if path.is_file() else 0
        there = path.exists()
    except OSError as error:
        refuse_unreadable(path, error)
        raise
    if not size:
        gone = path.is_symlink() and not there
        found = f"a link to {path.readlink()}, which is not there" if gone else "no content"
        raise ValueError(f"{path}: found {found}, expected a file; bring it back, or take its other half away")
    return size


def _nearest(depth: Float32[np.ndarray, "rows columns"], size: tuple[int, int]) -> Float32[np.ndarray, "h w"]:
    if depth.shape == size:
        return depth
    rows, columns = (
        ((np.arange(new) + 0.5) * (old / new)).astype(np.intp) for new, old in zip(size, depth.shape, strict=True)
    )
    return depth[rows][:, columns]


def _same_shape(size: Sequence[int], other: Sequence[int], tolerance: float) -> bool:
    """Whether two sizes have nearly the same ratio of height to width."""
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) <= tolerance


def _sides(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"
