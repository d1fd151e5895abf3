"""Reads RGB and depth images from disk and refuses everything that would silently be read as something else."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image, ImageOps

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
_END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TAIL_BYTES = 4096


def read_rgb(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """An RGB image file, upright: photographs from a phone say in their EXIF data how they are turned.

    Raises:
        ValueError: The file cannot be read, is cut short, or is not RGB with 8 bits per channel.
    """
    image = _decoded(path)
    if image.mode != "RGB":
        raise ValueError(
            f"{path}: expected an RGB image (8 bits, 3 channels), found mode {image.mode!r}; convert it to RGB"
        )
    return np.array(ImageOps.exif_transpose(image))


def read_depth_mm(path: Path) -> UInt16[np.ndarray, "h w"]:
    """A depth map in whole millimetres, 0 where nothing was measured.

    Raises:
        ValueError: The file cannot be read, is cut short, is not a 16-bit image with one channel, or holds values that
            cannot be millimetres.
    """
    image = _decoded(path)
    if image.mode != "I;16":
        raise ValueError(
            f"{path}: expected a 16-bit PNG with one channel (depth in millimetres), found mode {image.mode!r}; "
            "an 8-bit or coloured depth map has lost its scale, take the copy's original depth files"
        )
    depth_mm = np.asarray(image)
    largest = int(depth_mm.max())
    if 0 < largest <= 255:
        raise ValueError(
            f"{path}: expected depth in millimetres, found values of at most {largest}: "
            "8-bit values in a 16-bit file, or metres in place of millimetres; write it again as millimetres"
        )
    return depth_mm


def _decoded(path: Path) -> Image.Image:
    """The image, fully decoded: opening alone would accept a file that is cut short."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); expected an image file") from error
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except _DAMAGE as error:
        raise ValueError(
            f"{path}: damaged or cut short at {len(content)} bytes ({error}); expected a whole image, fetch it again"
        ) from error
    end_mark = _END_MARKS.get(image.format or "", b"")
    if end_mark not in content[-_TAIL_BYTES:]:
        raise ValueError(f"{path}: cut short at {len(content)} bytes (its end mark is missing); fetch it again")
    return image
