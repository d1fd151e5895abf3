"""Miniatures of KITTI's layouts: few frames of true size on the five dates, with calibration, scans and lists."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZES = {
    "2011_09_26": (375, 1242),
    "2011_09_28": (370, 1224),
    "2011_09_29": (374, 1238),
    "2011_09_30": (370, 1226),
    "2011_10_03": (376, 1241),
}
"""Height and width by date."""

FOCAL = {
    "2011_09_26": 721.5377,
    "2011_09_28": 707.0493,
    "2011_09_29": 718.3351,
    "2011_09_30": 707.0912,
    "2011_10_03": 718.856,
}
CENTRE = (609.5593, 172.854)
BEHIND = 0.27
"""Metres that the scanner stands behind the cameras."""

TRAIN = tuple(f"{date}_drive_{number:04d}_sync" for date in SIZES for number in (1, 2))
TEST = "2011_09_26_drive_0048_sync"
FRAMES = (5, 6)
LAST = 11
"""The last image of a drive; annotated depth ends five frames before it, so frames 5 and 6 have it."""


def write_raw(
    raw: Path, drives: Sequence[str] = (*TRAIN, TEST), *, dated: bool = True, frames: Sequence[int] = FRAMES
) -> None:
    """Images of both cameras, scans, and the calibration of each date; the last image of a drive is a small file."""
    for drive in drives:
        date = drive[:10]
        write_calibration(raw / date, date)
        folder = raw / date / drive if dated else raw / drive
        for camera in ("image_02", "image_03"):
            for number in (*frames, LAST):
                write_image(
                    folder / camera / "data" / f"{number:010d}.png",
                    SIZES[date],
                    seed=zlib.crc32(f"{drive} {camera} {number}".encode()),
                )
        for number in frames:
            write_scan(folder / "velodyne_points" / "data" / f"{number:010d}.bin", date)


def write_calibration(folder: Path, date: str) -> None:
    """Both files, with cameras whose axes stand square to the scanner's."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width = SIZES[date]
    lines = ["calib_time: 09-Jan-2012 13:57:47", "R_rect_00: 1 0 0 0 1 0 0 0 1"]
    for number in ("02", "03"):
        lines.append(f"S_rect_{number}: {width:e} {height:e}")
        lines.append(f"P_rect_{number}: {FOCAL[date]} 0 {CENTRE[0]} 0 0 {FOCAL[date]} {CENTRE[1]} 0 0 0 1 0")
    (folder / "calib_cam_to_cam.txt").write_text("\n".join(lines) + "\n")
    turned = "R: 0 -1 0 0 0 -1 1 0 0"
    (folder / "calib_velo_to_cam.txt").write_text(f"calib_time: now\n{turned}\nT: 0 0 {-BEHIND}\n")


def write_image(path: Path, size: tuple[int, int], *, seed: int = 0) -> None:
    """A gradient, whose values tell rows, columns and the seed."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    pixels = np.stack([rows % 256, columns % 256, np.full(size, seed % 251)], axis=-1).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)


def sparse_depth(size: tuple[int, int]) -> np.ndarray:
    """Metres: a plane below the horizon that is measured in every fourth column and second row, 0 elsewhere."""
    rows = np.arange(size[0], dtype=np.float64)[:, None]
    metres = np.clip(1.65 * 720 / np.maximum(rows - 172, 1e-6), 0, 84.9) + np.zeros((1, size[1]))
    measured = np.zeros(size, bool)
    measured[190::2, ::4] = True
    return np.where(measured, np.rint(metres * 256) / 256, 0)


def write_depth(path: Path, size: tuple[int, int]) -> None:
    """A depth map with ``sparse_depth``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((sparse_depth(size) * 256).astype(np.uint16)).save(path, compress_level=1)


def write_scan(path: Path, date: str) -> None:
    """Points in a fan 10 m and 20 m before the camera, with a reflectance that must not matter."""
    side, up = np.meshgrid(np.linspace(-5, 5, 50), np.linspace(-1.5, 1, 20))
    near = np.stack([np.full(side.shape, 10 + BEHIND), side, up, np.full(side.shape, 0.3)], axis=-1)
    far = near * np.array([1, 2, 2, 1]) + np.array([10, 0, 0, 0.4])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.concatenate([far.reshape(-1, 4), near.reshape(-1, 4)]).astype("<f4").tobytes())


def write_annotated(
    folder: Path, drives: Sequence[str], *, kind: str = "groundtruth", frames: Sequence[int] = FRAMES
) -> None:
    """Depth of both cameras for drives, without date folders."""
    for drive in drives:
        for camera in ("image_02", "image_03"):
            for number in frames:
                write_depth(folder / drive / "proj_depth" / kind / camera / f"{number:010d}.png", SIZES[drive[:10]])


def bts_line(drive: str, number: int, *, depth: bool = True, camera: str = "image_02", dated: bool = True) -> str:
    """A line of BTS' lists."""
    image = f"{drive}/{camera}/data/{number:010d}.png"
    truth = f"{drive}/proj_depth/groundtruth/{camera}/{number:010d}.png" if depth else "None"
    return f"{drive[:10]}/{image} {truth} {FOCAL[drive[:10]]}" if dated else f"{image} {truth} {FOCAL[drive[:10]]}"


def write_list(path: Path, lines: Sequence[str]) -> Path:
    """Without a final newline, as BTS has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return path


def write_kitti(root: Path, *, merged: bool = False) -> Path:
    """The layout that BTS is trained on: raw images with dates, annotated depth, and both lists.

    The test list has a frame without depth, the training list one of the drive that is gone.
    """
    write_raw(root)
    base = root / "data_depth_annotated"
    write_annotated(base if merged else base / "train", TRAIN)
    write_annotated(base if merged else base / "val", (TEST,))
    write_raw(root, ("2011_09_26_drive_0079_sync",), frames=(5,))
    training = [bts_line(drive, number) for drive in TRAIN for number in FRAMES]
    training.append(bts_line("2011_09_26_drive_0079_sync", 5))
    write_list(root / "eigen_train_files_with_gt.txt", training)
    tested = [bts_line(TEST, number) for number in FRAMES] + [bts_line(TEST, LAST, depth=False)]
    write_list(root / "eigen_test_files_with_gt.txt", tested)
    return root


def write_selection(root: Path, drives: Sequence[str] = TRAIN, *, frames: Sequence[int] = FRAMES) -> Path:
    """``val_selection_cropped`` with images, depth of both kinds and intrinsics."""
    folder = root / "val_selection_cropped"
    for drive in drives:
        for number in frames:
            name = f"{drive}_{{}}_{number:010d}_image_02"
            write_image(
                folder / "image" / f"{name.format('image')}.png",
                (352, 1216),
                seed=zlib.crc32(f"{drive} {number}".encode()),
            )
            for kind in ("groundtruth_depth", "velodyne_raw"):
                write_depth(folder / kind / f"{name.format(kind)}.png", (352, 1216))
            (folder / "intrinsics").mkdir(exist_ok=True)
            numbers = f"{FOCAL[drive[:10]]} 0 600 0 {FOCAL[drive[:10]]} 150 0 0 1"
            (folder / "intrinsics" / f"{name.format('image')}.txt").write_text(numbers)
    return root
