"""Photographs for the command of exported files: upright, with what their lens saw, by Pillow alone.

Those of phones in HEIC by pillow-heif, where it is installed.
"""

import importlib
import struct
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ensemble.colours.rgb import as_rgb, too_dark
from ensemble.photographs.exif import field_of_view
from ensemble.photographs.search import HEIF_SUFFIXES, MOST_PIXELS

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
        ValueError: The file is not there, cannot be read, is no image, damaged, or has more than ``MOST_PIXELS``; or
            it is HEIC, and pillow-heif is not installed.
    """
    if path.suffix.lower() in HEIF_SUFFIXES:
        _with_heif(path)
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MOST_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                upright = ImageOps.exif_transpose(file)  # reads all of it, and with it EXIF data that stand at its end
                pixels, fov = np.asarray(as_rgb(upright)), field_of_view(file.getexif(), file.size)
                return Photograph(pixels, fov, too_dark(upright))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path}: has more than {MOST_PIXELS // 1_000_000} million pixels; make it smaller") from error
    except _DAMAGE as error:
        raise ValueError(f"{path}: {_reason(error)}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _with_heif(path: Path) -> None:
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        raise ValueError(f"{path}: HEIC needs pillow_heif.\nRun: pip install pillow-heif") from None


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "is no image that Pillow reads; expected a photograph such as .jpg or .png"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError) and error.strerror is not None:  # the system's; Pillow's own have none
        return f"cannot be read ({error.strerror})"
    return f"damaged or cut short ({error}); fetch it again"
