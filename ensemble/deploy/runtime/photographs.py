"""Photographs for the command of exported files: upright, with what their lens saw, by Pillow alone."""

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ensemble.colours.rgb import as_rgb, too_dark
from ensemble.photographs.exif import field_of_view

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


class Photograph(NamedTuple):
    """A photograph, ready for an exported file.

    Attributes:
        pixels: RGB in 8 bits [h w 3].
        fov: Degrees across its width, by its EXIF data; ``None`` where they do not tell.
        dark: What is said where its numbers leave most of their range alone; else empty.
    """

    pixels: np.ndarray
    fov: float | None
    dark: str


def read_photograph(path: Path) -> Photograph:
    """All of a photograph, upright as its EXIF data say.

    Raises:
        ValueError: The file is not there, cannot be read, is no image, damaged, or has too many pixels for Pillow.
    """
    try:
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file)  # reads all of it, and with it EXIF data that stand at its end
            return Photograph(np.asarray(as_rgb(upright)), field_of_view(file.getexif(), file.size), too_dark(upright))
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: has too many pixels ({error}); make it smaller") from error
    except _DAMAGE as error:
        raise ValueError(f"{path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "is no image that Pillow reads; expected a photograph such as .jpg or .png"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError) and error.strerror is not None:  # the system's; Pillow's own have none
        return f"cannot be read ({error.strerror})"
    return f"damaged or cut short ({error}); fetch it again"
