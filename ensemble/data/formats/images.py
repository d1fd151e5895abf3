"""Reads RGB and depth images and refuses everything that would silently be read as something else."""

import io
import math
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image, ImageOps, UnidentifiedImageError

from ensemble.runs.refusals import expect_file, refuse_unreadable

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, MemoryError, struct.error, zlib.error)
_END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_FORMATS = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG"}
_OTHERS = re.compile(rb"RIFF|BM|II\*\0|MM\0\*|....ftyp", re.DOTALL)
"""How WebP, BMP, TIFF and HEIF begin: what Pillow does not know again of these is damaged rather than no image."""
_TAIL_BYTES = 4096
_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
"""In a JPEG's picture data, where 0xff stands for itself before 0 and between restarts."""


def read_rgb(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB image in a file, by ``decode_rgb``."""
    return decode_rgb(file_content(path), str(path))


def read_depth_mm(path: Path) -> UInt16[np.ndarray, "h w"]:
    """The depth map in a file, by ``decode_depth_mm``."""
    return decode_depth_mm(file_content(path), str(path))


def read_depth_8bit(path: Path) -> UInt8[np.ndarray, "h w"]:
    """A depth map in 255 steps over 0 .. 10 m, 0 where nothing was measured.

    Raises:
        ValueError: The file cannot be read, is cut short, is not an 8-bit image with one channel, or holds values that
            cannot be such steps.
    """
    image = decoded(file_content(path), str(path))
    if image.mode != "L":
        raise ValueError(
            f"{path}: expected an 8-bit image with one channel (depth in 255 steps over 10 m), "
            f"found mode {image.mode!r}; take the original depth files"
        )
    steps = np.array(image)
    largest = int(steps.max())
    if 0 < largest <= 10:
        raise ValueError(
            f"{path}: expected depth in 255 steps over 10 m, found values of at most {largest}: "
            "metres in place of steps; take the original depth files"
        )
    return steps


def decode_rgb(content: bytes, where: str) -> UInt8[np.ndarray, "h w 3"]:
    """The RGB image in a file's content, upright: photographs from a phone say in their EXIF data how they are turned.

    Raises:
        ValueError: It is cut short, or not RGB with 8 bits per channel.
    """
    image = decoded(content, where)
    if image.mode != "RGB":
        raise ValueError(
            f"{where}: expected an RGB image (8 bits, 3 channels), found mode {image.mode!r}; convert it to RGB"
        )
    return np.array(ImageOps.exif_transpose(image))


def decode_depth_mm(content: bytes, where: str) -> UInt16[np.ndarray, "h w"]:
    """The depth map in a file's content, in whole millimetres, 0 where nothing was measured.

    Raises:
        ValueError: It is cut short, not a 16-bit image with one channel, or holds values that cannot be millimetres.
    """
    depth_mm = decode_depth(content, where)
    if problem := no_millimetres(depth_mm):
        raise ValueError(f"{where}: {problem}")
    return depth_mm


def no_millimetres(numbers: UInt16[np.ndarray, "h w"]) -> str:
    """What is said of a map whose numbers are too small for millimetres of any frame; empty where they are not."""
    largest = int(numbers.max())
    if not 0 < largest <= 255:
        return ""
    return (
        f"expected depth in millimetres, found values of at most {largest}: "
        "8-bit values in a 16-bit file, or metres in place of millimetres; write it again as millimetres"
    )


def decode_depth(content: bytes, where: str) -> UInt16[np.ndarray, "h w"]:
    """The depth map in a file's content, in whatever its whole numbers count.

    Raises:
        ValueError: It is cut short, or not a 16-bit image with one channel.
    """
    image = decoded(content, where)
    if image.mode != "I;16":
        raise ValueError(
            f"{where}: expected a 16-bit PNG with one channel (depth in millimetres), found mode {image.mode!r}; "
            "an 8-bit or coloured depth map has lost its scale, take the original depth files"
        )
    return np.asarray(image)


def check_end(path: Path) -> None:
    """Refuses a file that cannot be read, is no PNG or JPEG, or does not end as such, without decoding it."""
    try:
        expect_file(path)
        with path.open("rb") as file:
            head = file.read(8)
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read()
    except OSError as error:
        refuse_unreadable(path, error)
        raise
    kind = _kind_of(head)
    if kind is None:
        raise _no_image(head, size, str(path))
    if _END_MARKS[kind] not in tail and not has_end(file_content(path), kind):
        raise ValueError(f"{path}: damaged or cut short at {size} bytes (its end mark is missing); fetch it again")


def has_end(content: bytes, kind: str) -> bool:
    """Whether a ``JPEG`` or ``PNG`` ends as it should; what follows, such as the video of a phone, is not looked at.

    Source: PNG (third edition), section 5.3; ITU-T T.81, annex B.1.1.
    """
    place = 8 if kind == "PNG" else 2
    while place + 4 <= len(content):
        if kind == "PNG":
            length, name = struct.unpack_from(">I4s", content.ljust(place + 8, b"\0"), place)
            place += 12 + length
            if name == b"IEND":
                return place <= len(content)
            continue
        marker = _NEXT_MARKER.search(content, place)
        if marker is None or marker.group(1) == b"\xd9":
            return marker is not None
        place = marker.end()
        if marker.group(1) not in b"\x01\xd8":
            place += int.from_bytes(content[place : place + 2], "big")
    return False


def file_content(path: Path) -> bytes:
    """All of a file; what the system refuses is told apart from damage."""
    try:
        expect_file(path)
        return path.read_bytes()
    except (OSError, MemoryError) as error:
        refuse_unreadable(path, error)
        raise ValueError(f"{path}: cannot be read ({error}); expected a file, and no link to itself") from error


def _kind_of(head: bytes) -> str | None:
    """Format of a file by its first bytes; what is cut short within them may be either."""
    return next((kind for start, kind in _FORMATS.items() if head[: len(start)] == start[: len(head)]), None)


def _no_image(head: bytes, size: int, where: str) -> ValueError:
    return ValueError(
        f"{where}: is no image, found {size} bytes that begin with {head[:8]!r}; expected a PNG or JPEG, take the "
        "original file"
    )


def decoded(
    content: bytes, where: str, *, most_pixels: int | None = None, wanted: int | None = None, pixels: bool = True
) -> Image.Image:
    """The image, fully decoded: opening alone would accept a file that is cut short.

    Args:
        content: Of the file.
        where: Names it in errors.
        most_pixels: It may have; ``Image.MAX_IMAGE_PIXELS`` where absent.
        wanted: Of them; a JPEG of many more is decoded at a half, a quarter or an eighth of its scale.
        pixels: Decode them in any case; else only where no end and no checksum tell whether the file is whole.

    Raises:
        ValueError: It is damaged, no image, or larger than that.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, most_pixels or Image.MAX_IMAGE_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fields that are not needed; what is damaged is told below
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content))
        if wanted is not None:
            factor = (wanted / (image.width * image.height)) ** 0.5
            image.draft("RGB", (math.ceil(factor * image.width), math.ceil(factor * image.height)))
        if pixels or image.format not in _END_MARKS:
            image.load()
        if image.format == "PNG":
            _check_chunks(content)
    except _BOMBS as error:
        found = re.search(r"\d+", str(error))
        raise ValueError(
            f"{where}: is larger than the limit of {Image.MAX_IMAGE_PIXELS} pixels"
            + (f" (found {found.group()})" if found else "")
            + "; make it smaller"
        ) from error
    except _DAMAGE as error:
        refuse_unreadable(where, error)
        if isinstance(error, UnidentifiedImageError) and not (_kind_of(content[:8]) or _OTHERS.match(content)):
            raise _no_image(content, len(content), where) from error
        if isinstance(error, UnidentifiedImageError) and _is_begun_tiff(content):
            raise ValueError(
                f"{where}: is a TIFF of a kind that Pillow does not read, such as numbers of 64 bits or three of 32 a "
                "pixel, or a damaged one; expected 8 or 16 bits, or one number of 32 bits a pixel"
            ) from error
        why = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"  # it names a buffer by its address
        raise ValueError(
            f"{where}: damaged or cut short at {len(content)} bytes{why}; expected a whole image, fetch it again"
        ) from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    kind = _kind_of(content[:8])
    if kind is not None and not has_end(content, kind):
        raise ValueError(f"{where}: cut short at {len(content)} bytes (its end mark is missing); fetch it again")
    return image


def _is_begun_tiff(content: bytes) -> bool:
    """Whether a TIFF holds at least the beginning of its list of fields.

    Source: TIFF 6.0, section 2.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None or len(content) < 8:
        return False
    return struct.unpack_from(f"{order}I", content, 4)[0] + 2 <= len(content)


def _check_chunks(content: bytes) -> None:
    """Hold every chunk of a PNG against its checksum; Pillow looks at few, and reads other depth from a flipped bit.

    Raises:
        ValueError: One does not fit; what follows the last one is not looked at.
    """
    view, at = memoryview(content), 8
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 8 + length
        (expected,) = struct.unpack_from(">I", content, end)
        if zlib.crc32(view[at + 4 : end]) != expected:
            raise ValueError(f"chunk {kind!r} at byte {at} does not fit its checksum")
        if kind == b"IEND":
            return
        at = end + 4
    raise ValueError("its last chunk is missing")
