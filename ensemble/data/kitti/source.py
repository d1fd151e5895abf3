"""KITTI as a source of frames: the KB crop of every date has one size, so that frames work in batches."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from ensemble.data.formats.images import check_end, read_rgb
from ensemble.data.intrinsics import Intrinsics
from ensemble.data.kitti.calibration import CAMERA_FILE, camera_of, project_scan, read_scan, scanner_to_pixels
from ensemble.data.kitti.depth import read_depth
from ensemble.data.kitti.listing import Listing, Place, list_kitti
from ensemble.data.kitti.stamps import described, packed
from ensemble.data.roots import root_of
from ensemble.data.source import Frame, FrameSource, ListedFrames, RawFrame
from ensemble.data.splits import evenly_spread
from ensemble.metrics.kitti import KB, Window, kb_corner
from ensemble.settings.schema import DataSettings
from ensemble.settings.trees import SettingsError

PACK_FILES = ("pack.json", "pack-begun.json")
"""Of a training pack, finished or not."""

_LOOKED_AT = 5
"""Frames of training that are decoded before any work is done."""


@dataclass(frozen=True)
class KittiSource(ListedFrames[Place]):
    """The frames of a copy of KITTI, cut to the KB crop unless ``settings`` ask for all of them."""

    settings: DataSettings

    @property
    def name(self) -> str:
        """The kind of data."""
        return self.settings.kind

    def read(self, frame: Frame) -> RawFrame:
        """Image and depth of a frame, with the camera of its date where calibration is there.

        Raises:
            ValueError: A file is damaged or not what it should be, image and depth differ in size, or a scan has no
                calibration.
        """
        place = self._place(frame)
        image, depth = read_rgb(self.image_file(frame)), self._depth(place)
        if image.shape[:2] != depth.shape:
            raise ValueError(
                f"{self.root / place.depth}: found depth of {depth.shape[0]}x{depth.shape[1]}, expected the "
                f"size of its image, {image.shape[0]}x{image.shape[1]}; take both from KITTI's own files, and never "
                "resize depth"
            )
        size = (depth.shape[0], depth.shape[1])
        camera, window = self._intrinsics(place), self._window(place, size)
        if window is None:
            return RawFrame(image, depth, depth > 0, camera)
        rows, columns = slice(window.top, window.top + KB[0]), slice(window.left, window.left + KB[1])
        depth = np.ascontiguousarray(depth[rows, columns])
        cropped = None if camera is None else camera.cropped(window.top, window.left)
        return RawFrame(np.ascontiguousarray(image[rows, columns]), depth, depth > 0, cropped, window)

    def read_image(self, frame: Frame) -> UInt8[np.ndarray, "h w 3"]:
        """The image alone; refused where it is damaged or not RGB."""
        place = self._place(frame)
        image = read_rgb(self.image_file(frame))
        window = self._window(place, (image.shape[0], image.shape[1]))
        if window is None:
            return image
        return np.ascontiguousarray(image[window.top : window.top + KB[0], window.left : window.left + KB[1]])

    def image_file(self, frame: Frame) -> Path:
        """The file of a frame's image."""
        return self.root / self._place(frame).image

    def check(self, frame: Frame) -> None:
        """Raises ``ValueError`` where a frame's files are cut short or its calibration is missing, without decoding."""
        place = self._place(frame)
        check_end(self.image_file(frame))
        if place.depth.endswith(".bin"):
            scanner_to_pixels(self.root / place.calibration, place.camera)
        else:
            check_end(self.root / place.depth)

    def describe(self, frames: Sequence[Frame]) -> str:
        """Fingerprint of ids, splits, sizes of files, crop and kind of depth: replaced files are noticed unread."""
        return described(self.settings, [(frame, self._sizes(frame)) for frame in frames])

    def stamp(self, frame: Frame) -> str:
        """What tells a frame's content, and its camera and window, for a pack; ``unpacked`` reads it."""
        place = self._place(frame)
        with Image.open(self.root / place.image) as image:
            size = image.height, image.width
        window, camera = self._window(place, size), self._intrinsics(place)
        if window is not None and camera is not None:
            camera = camera.cropped(window.top, window.left)
        return packed(self._sizes(frame), camera, window)

    def _sizes(self, frame: Frame) -> str:
        place = self._place(frame)
        sizes = (str((self.root / path).stat().st_size) for path in place[:2])
        return " ".join((Path(place.depth).suffix, *sizes))

    def depth_file(self, frame: Frame) -> Path:
        """The file of a frame's depth, for messages."""
        return self.root / self._place(frame).depth

    def calibrated(self, frame: Frame) -> bool:
        """Whether the camera of a frame is known."""
        place = self._place(frame)
        path = self.root / place.calibration
        return path.is_file() or (path / CAMERA_FILE).is_file()

    def _depth(self, place: Place) -> Float32[np.ndarray, "h w"]:
        path = self.root / place.depth
        if path.suffix != ".bin":
            return read_depth(path)
        folder = self.root / place.calibration
        size = camera_of(folder, place.camera).size
        return project_scan(read_scan(path), scanner_to_pixels(folder, place.camera), size)

    def _window(self, place: Place, size: tuple[int, int]) -> Window | None:
        if self.settings.kitti.crop == "none" or size == KB:
            return None
        try:
            return Window(*kb_corner(size), size)
        except ValueError as error:
            raise ValueError(
                f"{self.root / place.image}: {error}; set data.kitti.crop=none for frames of other sizes"
            ) from error

    def _intrinsics(self, place: Place) -> Intrinsics | None:
        path = self.root / place.calibration
        if path.suffix == ".txt":
            return _selected_camera(path)
        return camera_of(path, place.camera).intrinsics if (path / CAMERA_FILE).is_file() else None


def open_kitti(root: Path, settings: DataSettings) -> tuple[KittiSource, Listing]:
    """The frames of a copy, and what is wrong with others.

    Raises:
        SettingsError: There is no such folder.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing"
        raise SettingsError(f"{root}: expected the folder of {settings.facts.title}, found {found}")
    listing = list_kitti(root, settings.kitti)
    return KittiSource(root, listing.entries, settings), listing


def from_settings(settings: DataSettings) -> FrameSource:
    """The copy, or the pack of one, in ``data.root`` or in the folder that ``KITTI_ROOT`` names."""
    root = root_of(settings)
    if any((root / name).is_file() for name in PACK_FILES):
        from ensemble.data.packs.kitti import open_pack

        return open_pack(root, settings)
    return open_copy(root, settings)


def open_copy(root: Path, settings: DataSettings) -> KittiSource:
    """The copy in a folder.

    Frames that never had depth are left out; the doctor counts them.

    Raises:
        ValueError: Something is wrong with it; the message ends with the command that looks at all of it.
    """
    source, listing = open_kitti(root, settings)
    problems = listing.told()
    if not source.entries and not problems:
        problems = [f"expected frames with {settings.kitti.depth} depth, found {listing.layout.title}"]
    if not problems:
        try:
            _look(source)
        except ValueError as error:
            problems = [str(error)]
    if problems:
        raise ValueError(f"{root}: {'; '.join(problems)}.\nRun: {doctor_command(root, settings)}")
    return source


@lru_cache(maxsize=4)
def _look(source: KittiSource) -> None:
    """Refuse what is wrong with a few frames that are not tested on."""
    own = [frame for frame in source.frames if frame.split != "test"]
    for frame in evenly_spread(own, _LOOKED_AT):
        source.read(frame)


def doctor_command(root: Path, settings: DataSettings) -> str:
    """The command that looks at everything."""
    own = settings.kitti.model_dump(exclude_defaults=True)
    words = [word for key, value in own.items() for word in ("--set", f"data.kitti.{key}={value}")]
    return shlex.join(["python", "-m", "ensemble.data", "doctor", str(root), "--data", settings.kind, *words])


@lru_cache(maxsize=1024)
def _selected_camera(path: Path) -> Intrinsics | None:
    """Of a frame of the selection, whose file holds the nine numbers of its matrix; ``None`` where there is no file."""
    if not path.is_file():
        return None
    numbers = [float(word) for word in path.read_text(encoding="utf-8").split()]
    if len(numbers) != 9:
        raise ValueError(
            f"{path}: found {len(numbers)} numbers, expected the nine of a camera's matrix; fetch it again"
        )
    return Intrinsics(numbers[0], numbers[4], numbers[2], numbers[5])
