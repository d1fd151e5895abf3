"""A photograph, what a stack says of it, and the camera that it is taken to be of: a point cloud."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ensemble.console import messages
from ensemble.data.formats.photographs import Photograph, read_photograph
from ensemble.data.intrinsics import Intrinsics
from ensemble.deploy.photographs import DEFAULT_PIXELS
from ensemble.deploy.points.cloud import PointCloud, point_cloud
from ensemble.photographs.views import focal_of_view, view_of_focal

if TYPE_CHECKING:
    from ensemble.deploy.door import DepthStack
    from ensemble.deploy.runtime import ExportedStack
from ensemble.deploy.runtime.views import Views, view_of_training


def points_of(
    stack: DepthStack | ExportedStack,
    path: Path,
    *,
    fov: float | None = None,
    intrinsics: Intrinsics | None = None,
    drop_edges: bool = False,
    max_error: float | None = None,
    most: int | None = None,
) -> PointCloud:
    """Coloured points of a photograph.

    Args:
        stack: On the device to predict on.
        path: Of the photograph.
        fov: Degrees across its width; by EXIF, else as the camera of the training, where neither this nor intrinsics
            are told.
        intrinsics: Of its camera, in pixels of the whole photograph, upright.
        drop_edges: As ``point_cloud`` takes it.
        max_error: Likewise.
        most: Likewise.

    Raises:
        ValueError: The file cannot be read, nothing tells the camera, or no point is left.
    """
    photograph = read_photograph(path, pixels=None if intrinsics is not None else DEFAULT_PIXELS)
    if photograph.dark:
        messages.print(f"{path}: {photograph.dark}")
    if intrinsics is not None:
        whole = photograph.pixels.shape[:2]
        photograph = _at_most(photograph, DEFAULT_PIXELS)
        if not intrinsics.axis_within(whole):
            messages.print(
                f"{path}: the axis of the camera meets it at column {intrinsics.cx:g}, row {intrinsics.cy:g}, outside "
                f"of its {whole[1]}x{whole[0]} pixels: right for a part of a larger photograph alone"
            )
        camera = intrinsics.resized(whole, photograph.pixels.shape[:2])
        fov = view_of_focal(camera.focal, photograph.pixels.shape[1])
    else:
        fov = _view(stack, path, photograph, fov)
        camera = camera_of_view(fov, photograph.pixels.shape[:2])
    found = stack(photograph.pixels, fov=None if stack.header.focal is None else fov)
    how = {"drop_edges": drop_edges, "max_error": max_error, "most": most}
    return point_cloud(photograph.pixels, found.depth, camera, error=found.error, **how)


def camera_of_view(fov: float, size: tuple[int, int]) -> Intrinsics:
    """A camera with square pixels that sees so many degrees across its width, and its axis in the middle.

    Raises:
        ValueError: There is no such field of view.
    """
    height, width = size
    focal = focal_of_view(fov, width)
    return Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2)


def _view(stack: DepthStack | ExportedStack, path: Path, photograph: Photograph, told: float | None) -> float:
    """Degrees across the width, by what was told, by EXIF, or by the camera of the training."""
    if stack.header.focal is not None:
        views, size = Views(stack, told, messages.print), photograph.pixels.shape[:2]
        return views.of(path, photograph) or view_of_training(stack, size)
    fov = photograph.fov if told is None else told
    if fov is None:
        raise ValueError(
            f"{path}: no focal length in EXIF, and the camera of the training is not known; --fov DEGREES across the "
            "width, or --intrinsics, tells what it sees"
        )
    return fov


def _at_most(photograph: Photograph, pixels: int) -> Photograph:
    height, width = photograph.pixels.shape[:2]
    factor = (pixels / (height * width)) ** 0.5
    if factor >= 1:
        return photograph
    size = max(1, int(factor * width)), max(1, int(factor * height))
    small = Image.fromarray(photograph.pixels).resize(size, Image.Resampling.BILINEAR, reducing_gap=3)
    return photograph._replace(pixels=np.asarray(small))
