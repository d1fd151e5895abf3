"""KITTI's depth maps: 16-bit PNG in 1/256 m, 0 where nothing was measured."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ensemble.data.formats.images import decoded, file_content

STEPS = 256
"""Of a metre. Source: readme of the development kit of KITTI's depth benchmark."""

_ENOUGH = 16
"""Measured pixels from which on whole metres alone are no chance."""

_AGAIN = "take the original file of data_depth_annotated or data_depth_velodyne"


def read_depth(path: Path) -> Float32[np.ndarray, "h w"]:
    """Metres along the axis, 0 where nothing was measured.

    Raises:
        ValueError: The file is damaged, not a 16-bit image with one channel, holds 8-bit values, or measures nothing.
    """
    image = decoded(file_content(path), str(path))
    if image.mode != "I;16":
        raise ValueError(
            f"{path}: found an image of mode {image.mode!r}, expected 16 bits and one channel with metres times "
            f"{STEPS}; an 8-bit copy holds whole metres at best: {_AGAIN}"
        )
    steps = np.asarray(image)
    measured = steps[steps > 0]
    if not measured.size:
        raise ValueError(f"{path}: none of {steps.size} pixels is measured, expected some above 0; {_AGAIN}")
    largest = int(measured.max())
    if largest < STEPS or (measured.size >= _ENOUGH and not (measured % STEPS).any()):
        found = f"values of at most {largest}" if largest < STEPS else "whole metres alone"
        raise ValueError(
            f"{path}: found {found}, expected metres times {STEPS}: an 8-bit copy in a 16-bit file; {_AGAIN}"
        )
    return steps / np.float32(STEPS)
