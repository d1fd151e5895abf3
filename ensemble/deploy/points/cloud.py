"""From depth along the optical axis to points in space, and which of them are surface rather than the step between two.

Points are metres in the coordinates of the camera, which are right-handed: x to the right, y down, z away from it.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8

from ensemble.console import counted
from ensemble.data.intrinsics import Intrinsics

LEAST_ANGLE = 5.0
"""Degrees. What is seen flatter than this is no surface but the slope that joins two of them at an edge of depth: a
step of 14 % of the depth within a pixel that networks see, where 80 of them make a focal length."""


@dataclass(frozen=True)
class PointCloud:
    """Points of one photograph.

    Attributes:
        positions: Metres.
        colours: RGB.
        errors: Expected errors of their depth in metres; ``None`` where they are not known.
        left_out: Pixels that were looked at and are no points: edges, and what is expected to err too much.
    """

    positions: Float32[np.ndarray, "n 3"]
    colours: UInt8[np.ndarray, "n 3"]
    errors: Float32[np.ndarray, " n"] | None = None
    left_out: int = 0


def unproject(depth: Float[np.ndarray, "h w"], camera: Intrinsics) -> Float[np.ndarray, "h w 3"]:
    """The point that every pixel sees at its centre, from depth along the optical axis (z), not along the ray.

    Source: Hartley and Zisserman 2004, eq. 6.2, solved for x and y.
    """
    height, width = depth.shape
    across = (np.arange(width, dtype=depth.dtype) - camera.cx) / camera.fx
    down = (np.arange(height, dtype=depth.dtype) - camera.cy) / camera.fy
    return np.stack([depth * across, depth * down[:, None], depth], axis=-1)


def seen_flat(points: Float[np.ndarray, "h w 3"], least: float = LEAST_ANGLE) -> Bool[np.ndarray, "h w"]:
    """Pixels whose surface is seen at less than so many degrees, as the slopes at edges of depth are.

    Depth that was enlarged has such slopes between near and far; the angle is the same at every size of an image.
    """
    if min(points.shape[:2]) < 2:
        return np.zeros(points.shape[:2], dtype=bool)
    down, across = np.gradient(points, axis=(0, 1))
    normal = np.cross(across, down)
    lengths = np.linalg.norm(normal, axis=-1) * np.linalg.norm(points, axis=-1)
    return np.abs((normal * points).sum(axis=-1)) < math.sin(math.radians(least)) * lengths


def spread_evenly(size: tuple[int, int], most: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns, as index arrays, of a regular grid with at most so many pixels; ``None`` takes all of them."""
    height, width = size
    share = 1.0 if most is None else min(1.0, math.sqrt(most / (height * width)))
    rows = max(1, math.floor(height * share))
    columns = max(1, min(math.floor(width * share), width if most is None else most // rows))
    return _centres(height, rows)[:, None], _centres(width, columns)


def point_cloud(
    image: UInt8[np.ndarray, "h w 3"],
    depth: Float[np.ndarray, "h w"],
    camera: Intrinsics,
    *,
    error: Float[np.ndarray, "h w"] | None = None,
    drop_edges: bool = False,
    max_error: float | None = None,
    most: int | None = None,
) -> PointCloud:
    """Coloured points of an image.

    Args:
        image: RGB.
        depth: Metres along the optical axis, positive.
        camera: Of the image at this size.
        error: Expected, in metres.
        drop_edges: Leave out what is seen flat.
        max_error: Leave out pixels with a larger expected error, in metres.
        most: Points; pixels of a regular grid are taken where there are more.

    Raises:
        ValueError: There is a largest error and none is known, or no pixel is left.
    """
    points = unproject(depth, camera)
    kept = np.ones(depth.shape, dtype=bool) if not drop_edges else ~seen_flat(points)
    if max_error is not None:
        if error is None:
            raise ValueError("a largest error: this network tells no expected error; leave it out, or take a stack")
        kept &= error <= max_error
    grid = spread_evenly((depth.shape[0], depth.shape[1]), most)
    chosen = kept[grid]
    if not chosen.any():
        least = "" if error is None else f" (smallest expected error: {float(error.min()):.3g} m)"
        raise ValueError(f"none of {counted(chosen.size, 'point')} is left{least}; allow a larger error, or keep edges")
    return PointCloud(
        _picked(points, grid, chosen).astype(np.float32),
        _picked(image, grid, chosen),
        None if error is None else _picked(error, grid, chosen).astype(np.float32),
        int((~chosen).sum()),
    )


def _centres(length: int, count: int) -> np.ndarray:
    return ((np.arange(count) + 0.5) * (length / count)).astype(np.intp)


def _picked(
    values: Shaped[np.ndarray, "h w ..."], grid: tuple[np.ndarray, np.ndarray], chosen: Bool[np.ndarray, "r c"]
) -> Shaped[np.ndarray, "n ..."]:
    return values[grid][chosen]
