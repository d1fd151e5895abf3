"""Writes generated streets in KITTI's layout: drives by date, calibration, scans, annotated depth and BTS' lists."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ensemble.data.intrinsics import Intrinsics
from ensemble.data.kitti.depth import STEPS
from ensemble.data.kitti.listing import EDGE
from ensemble.data.rooms.outdoor import BEHIND, CAMERA_HEIGHT, SCANNER_HEIGHT, Shot, take_shot
from ensemble.data.rooms.street import MOST_METRES
from ensemble.runs.files import told_when_full
from ensemble.runs.locks import StoreLock
from ensemble.settings.schema import RoomsSettings


class _Date(NamedTuple):
    """A date of KITTI's recordings: height and width of its frames, and the camera."""

    name: str
    size: tuple[int, int]
    focal: float
    centre: tuple[float, float]

    @property
    def camera(self) -> Intrinsics:
        return Intrinsics(self.focal, self.focal, *self.centre)


_DATES = (
    _Date("2011_09_26", (375, 1242), 721.5377, (609.5593, 172.854)),
    _Date("2011_09_28", (370, 1224), 707.0493, (604.0814, 180.5066)),
    _Date("2011_09_29", (374, 1238), 718.3351, (600.3891, 181.5122)),
    _Date("2011_09_30", (370, 1226), 707.0912, (601.8873, 183.1104)),
    _Date("2011_10_03", (376, 1241), 718.856, (607.1928, 185.2157)),
)
_FIRST_TRAIN, _FIRST_TEST, _MOST = 9000, 9500, 500
"""Numbers of generated drives, which KITTI has none of."""

FOLDER, _PARTIAL = "raw", "raw.partial"
LISTS = {"train": "eigen_train_files_with_gt.txt", "test": "eigen_test_files_with_gt.txt"}


class _Drive(NamedTuple):
    name: str
    date: _Date
    split: str
    seed: tuple[int, int, int]


def _drives(settings: RoomsSettings) -> Iterator[_Drive]:
    """Drives of both splits, in turn on all dates."""
    counts = {"train": (settings.scenes, _FIRST_TRAIN, 0), "test": (settings.test_scenes, _FIRST_TEST, 1)}
    for split, (count, first, number) in counts.items():
        for index in range(count):
            date = _DATES[index % len(_DATES)]
            yield _Drive(f"{date.name}_drive_{first + index:04d}_sync", date, split, (settings.seed, number, index))


def write_drives(out: Path, settings: RoomsSettings, on_frame: Callable[[int, int], None] | None = None) -> int:
    """Writes ``raw/``, ``data_depth_annotated/`` and both lists; the number of frames.

    ``on_frame`` gets the number of frames written and of all. Folders get their places when all of their files are
    written, ``raw`` last, so that a copy that was cut short is never taken for a whole one.

    Raises:
        ValueError: ``out`` holds drives already, or more are asked for than a street is long.
        LockedError: Another process is writing there.
        OSError: The disk is full; what was written is removed, so run again when there is room.
    """
    if settings.frames > MOST_METRES or max(settings.scenes, settings.test_scenes) > _MOST:
        raise ValueError(
            f"--outdoor: expected at most {MOST_METRES} frames of each of at most {_MOST} drives, found "
            f"{settings.frames} of {settings.scenes} and {settings.test_scenes}"
        )
    final, partial = out / FOLDER, out / _PARTIAL
    with StoreLock(out, keep=False), ExitStack() as unless_whole:
        if final.exists():
            raise ValueError(
                f"{out}: has a folder {FOLDER} already; expected a new folder, remove it or name another one"
            )
        depth = out / "data_depth_annotated"
        for folder in (partial, depth):
            shutil.rmtree(folder, ignore_errors=True)
        unless_whole.callback(shutil.rmtree, partial, ignore_errors=True)
        lines: dict[str, list[str]] = {"train": [], "test": []}
        total = (settings.scenes + settings.test_scenes) * settings.frames
        for done, (drive, number) in enumerate(_numbered(settings), start=1):
            shot = take_shot(drive.date.camera, drive.date.size, seed=drive.seed, frame=number)
            for path, content in _files(partial, depth, drive, f"{number + EDGE:010d}", shot).items():
                _write(path, content)
            lines[drive.split].append(_line(drive, f"{number + EDGE:010d}"))
            if on_frame:
                on_frame(done, total)
        for date in {drive.date for drive in _drives(settings)}:
            for name, text in _calibration(date).items():
                _write(partial / date.name / name, text.encode())
        for split, name in LISTS.items():
            _write(out / name, "\n".join(lines[split]).encode())
        partial.rename(final)
    return total


def _numbered(settings: RoomsSettings) -> Iterator[tuple[_Drive, int]]:
    return ((drive, number) for drive in _drives(settings) for number in range(settings.frames))


def _files(raw: Path, depth: Path, drive: _Drive, name: str, shot: Shot) -> dict[Path, bytes]:
    """Image, scan and annotated depth of a frame, encoded."""
    folder = raw / drive.date.name / drive.name
    annotated = depth / {"train": "train", "test": "val"}[drive.split] / drive.name / "proj_depth/groundtruth/image_02"
    return {
        folder / "image_02/data" / f"{name}.png": _png(shot.image),
        folder / "velodyne_points/data" / f"{name}.bin": shot.scan.tobytes(),
        annotated / f"{name}.png": _png(np.rint(shot.depth * STEPS).astype(np.uint16)),
    }


def _line(drive: _Drive, name: str) -> str:
    """A line of BTS' lists."""
    image = f"{drive.date.name}/{drive.name}/image_02/data/{name}.png"
    return f"{image} {drive.name}/proj_depth/groundtruth/image_02/{name}.png {drive.date.focal}"


def _calibration(date: _Date) -> dict[str, str]:
    """Both files of a date, for a scanner whose axes stand square to those of the cameras."""
    height, width = date.size
    camera = f"{date.focal} 0 {date.centre[0]} 0 0 {date.focal} {date.centre[1]} 0 0 0 1 0"
    cameras = [
        line for number in ("02", "03") for line in (f"S_rect_{number}: {width} {height}", f"P_rect_{number}: {camera}")
    ]
    place = f"T: 0 {CAMERA_HEIGHT - SCANNER_HEIGHT:.4f} {-BEHIND}"
    return {
        "calib_cam_to_cam.txt": "\n".join(("R_rect_00: 1 0 0 0 1 0 0 0 1", *cameras)) + "\n",
        "calib_velo_to_cam.txt": f"R: 0 -1 0 0 0 -1 1 0 0\n{place}\n",
    }


def _write(path: Path, content: bytes) -> None:
    with told_when_full(path, len(content)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
