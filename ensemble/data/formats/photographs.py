"""Photographs of any make: upright, as RGB with 8 bits, and no larger than they are wanted."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ensemble.colours.rgb import as_rgb, too_dark
from ensemble.data.formats.images import decoded, file_content
from ensemble.data.formats.packages import needed
from ensemble.photographs.exif import ORIENTATION, field_of_view
from ensemble.photographs.search import HEIF_SUFFIXES, MOST_PIXELS

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by the orientation in its EXIF data.

Source: Exif 3.0, section 4.6.5.1.6.
"""


class Photograph(NamedTuple):
    """A photograph, ready for a network.

    Attributes:
        pixels: RGB.
        converted: The kind of file that it was made of where that was no RGB with 8 bits; else empty.
        fov: Degrees across its width, by its EXIF data; ``None`` where they do not tell.
        dark: What is said where its numbers leave most of their range alone; else empty.
        mode: Of the file, as Pillow calls it.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    converted: str
    fov: float | None = None
    dark: str = ""
    mode: str = "RGB"


def without_depth_maps(photographs: Mapping[str, Path]) -> dict[str, Path]:
    """The same without images of one channel and 16 bits, as depth maps are; what cannot be read stays."""
    return {name: path for name, path in photographs.items() if not _mode_of(path).startswith("I")}


def _mode_of(path: Path) -> str:
    try:
        with Image.open(path) as image:
            return image.mode
    except (OSError, ValueError, SyntaxError):
        return ""


def read_photograph(path: Path, *, pixels: int | None = None, most_pixels: int | None = None) -> Photograph:
    """A photograph, upright as its EXIF data say.

    Grey, palette, CMYK and 16-bit images are converted, and what is transparent lies on white.

    Args:
        path: What Pillow reads; HEIC where ``pillow-heif`` is installed.
        pixels: About how many are wanted at most; a larger file is read at a reduced scale.
        most_pixels: That the file may have; ``MOST_PIXELS`` where absent.

    Raises:
        ValueError: The file cannot be read, is damaged, is no image, or has more pixels than may be.
    """
    if path.suffix.lower() in HEIF_SUFFIXES:
        _with_heif(path)
    content = file_content(path)
    image = decoded(content, str(path), most_pixels=most_pixels or MOST_PIXELS, wanted=pixels)
    kind, mode = _kind_of(image, content), image.mode
    dark, exif = too_dark(image), image.getexif()
    turn = _TURNS.get(exif.get(ORIENTATION, 1))
    fov = field_of_view(exif, image.size)
    if pixels is not None and image.width * image.height > pixels:
        factor = math.sqrt(pixels / (image.width * image.height))
        size = max(1, int(factor * image.width)), max(1, int(factor * image.height))
        image = as_rgb(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=3)
    upright = as_rgb(image) if turn is None else as_rgb(image).transpose(turn)  # once it is small
    return Photograph(np.array(upright), kind, fov, dark, mode)


_KINDS = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with transparency",
    "P": "a palette",
    "RGBA": "RGB with transparency",
    "I;16": "grey with 16 bits",
    "I": "grey with 32 bits",
    "F": "real numbers",
}
"""Modes of Pillow in words, but for those that are words already."""
_PNG_DEPTH, _TIFF_DEPTH = 24, 258
"""The byte of a PNG that tells its bits, and the field of a TIFF that does.

Source: PNG (third edition), section 11.2.1; TIFF 6.0, section 8.
"""


def _kind_of(image: Image.Image, content: bytes) -> str:
    """What a file holds in words, where that is no RGB with 8 bits; Pillow makes 8 of 16 in three channels itself."""
    told = [content[_PNG_DEPTH]] if image.format == "PNG" else getattr(image, "tag_v2", {}).get(_TIFF_DEPTH, (8,))
    if image.mode in ("RGB", "RGBA") and 16 in told:
        return f"{_KINDS.get(image.mode, image.mode)} with 16 bits"
    return "" if image.mode == "RGB" else _KINDS.get(image.mode, image.mode)


def check_photograph(path: Path) -> None:
    """Refuse what is no photograph, or not all of one, as far as that is seen without decoding it.

    Raises:
        ValueError: As ``read_photograph`` says.
    """
    if not path.exists():
        raise ValueError(f"{path}: there is no such file or folder")
    if path.suffix.lower() in HEIF_SUFFIXES:
        _with_heif(path)
    decoded(file_content(path), str(path), most_pixels=MOST_PIXELS, pixels=False)


def _with_heif(path: Path) -> None:
    needed("pillow_heif", extra="heic", kind="HEIC", where=path).register_heif_opener()
