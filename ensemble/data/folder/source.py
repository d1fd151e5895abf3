"""Images and depth maps of one's own as a source of frames."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from ensemble.data.copies import Entry, ShapeError
from ensemble.data.folder.listing import Listing, Pair, list_folder, told
from ensemble.data.formats.images import check_end
from ensemble.data.formats.maps import DepthFile, as_metres, likely_unit, read_numbers
from ensemble.data.formats.photographs import read_photograph
from ensemble.data.intrinsics import Intrinsics
from ensemble.data.roots import root_of
from ensemble.data.source import Frame, RawFrame
from ensemble.data.splits import frames_not_tested_on
from ensemble.runs.fingerprints import lines_fingerprint
from ensemble.settings.schema import DataSettings, FolderSettings
from ensemble.settings.trees import SettingsError, assignments_of, flat
from ensemble.settings.units import PER_METRE, per_metre

LOOKED_AT = 5
"""Frames of training that are decoded before any work is done."""

ROUNDING = 0.02
"""Relative difference of two ratios of height to width that is put down to rounding: of depth and its image."""

SQUEEZED = 0.15
"""Likewise of an image and ``data.size``: up to here it may be squeezed."""

_WITH_ENDS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class FolderSource:
    """The frames of a folder; ``settings`` say how their depth is read and what shape they have."""

    root: Path
    settings: DataSettings
    entries: tuple[Entry, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """The kind of data."""
        return self.settings.kind

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Every frame of all splits."""
        return tuple(self._by_frame)

    def read(self, frame: Frame) -> RawFrame:
        """Image and depth of a frame at the size of its image; zero, negative and NaN depth is no truth.

        Depth of another size and the same shape is brought to that of the image by nearest neighbour.

        Raises:
            ValueError: A file is damaged or not what it should be, or the shapes differ.
        """
        image, place = self.read_image(frame), self.root / self._pair(frame).depth
        depth = as_metres(read_numbers(DepthFile(place)), self.settings.folder.unit)
        size = image.shape[0], image.shape[1]
        if not _same_shape(depth.shape, size, ROUNDING):
            raise ValueError(
                f"{place}: {_sides(depth.shape)} pixels have another shape than the image, {_sides(size)} pixels in "
                f"{self.root / self._pair(frame).image}; expected the whole frame, neither turned nor cropped"
            )
        depth = _nearest(depth, size)
        valid = np.isfinite(depth) & (depth > 0)
        return RawFrame(image, np.where(valid, depth, np.float32(0)), valid, self._intrinsics(size))

    def read_image(self, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
        """The image alone, upright and as RGB; refused where it is no image of 8 bits, or not of the expected shape."""
        path = self.root / self._pair(frame).image
        photograph = read_photograph(path)
        if photograph.converted.startswith(("I", "F")):
            raise ValueError(
                f"{path}: found mode {photograph.converted!r}, more than 8 bits, as depth has; expected an image. Are "
                "data.folder.images and data.folder.depth confused?"
            )
        self._check_shape(path, photograph.pixels.shape[:2])
        return photograph.pixels

    def check(self, frame: Frame) -> None:
        """Refuses files that are not there, cut short or of another shape, as far as their first bytes say it."""
        pair = self._pair(frame)
        image, depth = self.root / pair.image, self.root / pair.depth
        for path in (image, depth):
            if not path.is_file():
                raise ValueError(f"{path}: is no file, a link to nothing perhaps")
            if path.suffix.lower() in _WITH_ENDS:
                check_end(path)
        if image.suffix.lower() in _WITH_ENDS:
            with Image.open(image) as opened:
                turned = opened.getexif().get(0x0112, 1) >= 5  # a quarter of a turn
                self._check_shape(image, (opened.width, opened.height) if turned else (opened.height, opened.width))

    def describe(self, frames: Sequence[Frame]) -> str:
        """Fingerprint of ids, splits, sizes of files, unit and camera: replaced files are noticed without reading."""
        own = self.settings.folder
        lines = [f"{self.name} 1 {own.unit} {own.intrinsics}"]
        for frame in frames:
            sizes = " ".join(str((self.root / path).stat().st_size) for path in self._pair(frame))
            lines.append(f"{frame.split} {frame.id} {sizes}")
        return lines_fingerprint(lines)

    def depth_file(self, frame: Frame) -> Path:
        """The file of a frame's depth, for messages."""
        return self.root / self._pair(frame).depth

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

    @cached_property
    def _by_frame(self) -> dict[Frame, Pair]:
        return dict(self.entries)

    def _pair(self, frame: Frame) -> Pair:
        try:
            return self._by_frame[frame]
        except KeyError as error:
            raise ValueError(f"{self.root}: has no {frame.split} frame {frame.id}") from error


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
            trained_on = frames_not_tested_on(source, settings)
            spread = np.linspace(0, len(trained_on) - 1, LOOKED_AT).astype(int) if trained_on else ()
            check_depth(source, tuple(dict.fromkeys(trained_on[index] for index in spread)))
        except ValueError as error:
            problems = [str(error)]
    if problems:
        raise ValueError(f"{root}: {'; '.join(problems)}.\nRun: {doctor_command(root, settings)}")
    return source


def open_folder(root: Path, settings: DataSettings) -> tuple[FolderSource, Listing]:
    """The frames of a folder, and what is wrong with others.

    Raises:
        SettingsError: There is no such folder.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise SettingsError(f"{root}: expected the folder of {settings.facts.title}, found {found}")
    listing = list_folder(root, settings.folder)
    return FolderSource(root, settings, listing.entries), listing


def check_depth(source: FolderSource, frames: Sequence[Frame]) -> None:
    """Decode frames and refuse depth that is empty or of an unlikely size.

    Raises:
        ValueError: A frame cannot be read, has no depth, or the median of their medians is not likely.
    """
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
    unit = source.settings.folder.unit or likely_unit(read_numbers(DepthFile(source.depth_file(example))))
    fits = [name for name, per in PER_METRE.items() if low <= median * per_metre(unit) / per <= high]
    named = [name for name in fits if name in ("m", "mm")] or fits
    mend = f"data.folder.unit={' or '.join(named)} would fit" if named else "set data.folder.unit"
    return (
        f"median depth is {median:.4g} m, expected {low:g} .. {high:g} m with data.max_depth "
        f"{source.settings.max_depth:g} and numbers in {unit}; {mend}, or set data.max_depth"
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
    """A ``data.size`` of the shape of a frame with about as many pixels as the one asked for."""
    area, ratio = asked[0] * asked[1], size[0] / size[1]
    height, width = (max(32, 16 * round(side / 16)) for side in ((area * ratio) ** 0.5, (area / ratio) ** 0.5))
    return f"data.size=[{height},{width}]"


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
