"""KITTI's calibration files, and a scan of the laser projected into an image."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from ensemble.data.intrinsics import Intrinsics
from ensemble.runs.refusals import refuse_unreadable

CAMERA_FILE, SCANNER_FILE = "calib_cam_to_cam.txt", "calib_velo_to_cam.txt"
ADVICE = "take it from the raw data's download of the date's calibration, 2011_09_26_calib.zip and so on"


@dataclass(frozen=True)
class Camera:
    """A rectified colour camera: ``projection`` from rectified points to its pixels, and its frame's height, width."""

    projection: Float[np.ndarray, "3 4"]
    size: tuple[int, int]

    @property
    def intrinsics(self) -> Intrinsics:
        """In pixels of the whole frame."""
        return Intrinsics(*(float(self.projection[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2))))


@lru_cache(maxsize=32)
def camera_of(folder: Path, camera: str) -> Camera:
    """A camera (``image_02``) of a date from its calibration.

    Raises:
        ValueError: The file is missing or says something else.
    """
    path, number = folder / CAMERA_FILE, camera[-2:]
    values = _read(path)
    width, height = _numbers(values, f"S_rect_{number}", 2, path)
    projection = np.reshape(_numbers(values, f"P_rect_{number}", 12, path), (3, 4))
    return Camera(projection, (int(height), int(width)))


@lru_cache(maxsize=32)
def scanner_to_pixels(folder: Path, camera: str) -> Float[np.ndarray, "3 4"]:
    """From homogeneous points of the laser scanner to homogeneous pixels of a camera, whose last row is its depth.

    Source: Geiger et al. 2013, eq. 3 to 8: P_rect R_rect_00 (R | T).
    """
    rectify, rigid = np.eye(4), np.eye(4)
    rectify[:3, :3] = np.reshape(_numbers(_read(folder / CAMERA_FILE), "R_rect_00", 9, folder / CAMERA_FILE), (3, 3))
    path = folder / SCANNER_FILE
    values = _read(path)
    rigid[:3, :3] = np.reshape(_numbers(values, "R", 9, path), (3, 3))
    rigid[:3, 3] = _numbers(values, "T", 3, path)
    return camera_of(folder, camera).projection @ rectify @ rigid


def project_scan(
    points: Float32[np.ndarray, "n 4"], to_pixels: Float[np.ndarray, "3 4"], size: tuple[int, int]
) -> Float32[np.ndarray, "h w"]:
    """Depth of a scan in an image of this height and width: metres along the axis, 0 where no point meets a pixel.

    The fourth column holds reflectance and is taken as 1. Of several points in a pixel the nearest counts. Columns and
    rows are rounded and made smaller by 1, as in the development kit.
    """
    ahead = points[points[:, 0] >= 0].astype(np.float64)
    ahead[:, 3] = 1
    across, down, depth = to_pixels @ ahead.T
    seen = depth > 0
    columns = np.rint(across[seen] / depth[seen]).astype(np.int64) - 1
    rows = np.rint(down[seen] / depth[seen]).astype(np.int64) - 1
    inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    nearest = np.full(size, np.inf)
    np.minimum.at(nearest, (rows[inside], columns[inside]), depth[seen][inside])
    return np.where(np.isfinite(nearest), nearest, 0).astype(np.float32)


def read_scan(path: Path) -> Float32[np.ndarray, "n 4"]:
    """Points of a scan: forward, left and up in metres, and reflectance.

    Raises:
        ValueError: The file is missing, or holds no whole points.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        refuse_unreadable(path, error)
        raise ValueError(
            f"{path}: cannot be read ({error}); expected a scan of the laser, take it from the raw data"
        ) from error
    if not content or len(content) % 16:
        raise ValueError(
            f"{path}: found {len(content)} bytes, expected four float32 for every point; cut short, fetch it again"
        )
    return np.frombuffer(content, "<f4").reshape(-1, 4)


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ValueError(f"{path}: there is no calibration, expected that of its date; {ADVICE}")
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        refuse_unreadable(path, error)
        raise
    return {key.strip(): value for key, _, value in (line.partition(":") for line in lines)}


def _numbers(values: dict[str, str], key: str, count: int, path: Path) -> list[float]:
    try:
        found = [float(word) for word in values[key].split()]
    except (KeyError, ValueError):
        found = []
    if len(found) != count or not np.isfinite(found).all():
        raise ValueError(f"{path}: {key}: found {len(found)} numbers, expected {count}; {ADVICE}")
    return found
