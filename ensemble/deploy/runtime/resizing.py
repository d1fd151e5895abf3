"""Images and maps at another size, as the networks were trained to see them, in NumPy and Pillow alone."""

import math
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from ensemble.colours.rgb import as_rgb, too_dark

Size = tuple[int, int]

MOST_AREA = 4
"""Of an image as networks see it, as a multiple of the size of training: a strip of pixels would take gigabytes."""

MOST_SEEN = 16_000_000
"""Pixels that networks may be asked to see: their features take a kilobyte and more of each."""

_MOST_BITS = 22
"""Of a weight, however many pixels one is made of."""

_ORIENTATION, _UPRIGHT = 0x0112, (0, 1)
"""A field of Exif 3.0, section 4.6.5.1.6, and what it says where nothing has to be turned."""


def pixels_of(image: np.ndarray | Image.Image) -> np.ndarray:
    """An RGB image [h w 3] of 8 bits, or of float32 in [0, 1].

    One of Pillow may be of any mode; that it lies on its side is warned of.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(image, Image.Image) and (turned := image.getexif().get(_ORIENTATION, 1)) not in _UPRIGHT:
        warnings.warn(
            f"the image is not upright (orientation {turned} in its EXIF data), and its pixels are taken as they lie; "
            "expected PIL.ImageOps.exif_transpose(image)",
            stacklevel=3,
        )
    if isinstance(image, Image.Image) and (dark := too_dark(image)):
        warnings.warn(f"the image is dark: {dark}", stacklevel=3)
    if not isinstance(image, Image.Image | np.ndarray):
        how = "; open it first, with PIL.Image.open" if isinstance(image, str | Path) else ""
        raise ValueError(f"expected an array [h w 3] or a Pillow image, found {type(image).__name__}{how}")
    array = np.asarray(as_rgb(image) if isinstance(image, Image.Image) else image)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ValueError(f"expected an RGB image of height x width x 3, found an array of shape {array.shape}")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise ValueError(f"expected an image of 8 bits or of floats in [0, 1], found {array.dtype}")
    if not bool(((array >= 0) & (array <= 1)).all()):  # neither holds for NaN
        raise ValueError(f"expected floats in [0, 1], found {float(array.min()):g} .. {float(array.max()):g}")
    return array.astype(np.float32)


def checked_size(size: Size) -> Size:
    """Height and width that networks are to see.

    Raises:
        ValueError: They are no two whole numbers of 1 or more, or too many pixels.
    """
    sides = size if isinstance(size, tuple | list) else (size,)
    whole = [side for side in sides if isinstance(side, int | np.integer) and side >= 1]
    if len(sides) != 2 or len(whole) != 2:
        raise ValueError(f"size {size}: expected height and width in whole pixels, (height, width)")
    if whole[0] * whole[1] > MOST_SEEN:
        raise ValueError(f"size {size}: expected at most {MOST_SEEN // 1_000_000} million pixels")
    return int(whole[0]), int(whole[1])


def shape_kept(trained: Size, height: int, width: int) -> Size:
    """An image's own shape with the short side of ``trained``, or smaller where that is too many pixels."""
    most = math.sqrt(MOST_AREA * trained[0] * trained[1] / (height * width))
    return scaled(trained, min(min(trained) / min(height, width), most), height, width)


def scaled(wanted: Size, factor: float, height: int, width: int) -> Size:
    """Height and width times a factor, in whole pixels: those that are wanted where it comes within one of them."""
    if max(abs(factor * height - wanted[0]), abs(factor * width - wanted[1])) < 1:
        return wanted
    return max(1, round(factor * height)), max(1, round(factor * width))


def seen(pixels: np.ndarray, size: Size) -> np.ndarray:
    """The same at the size that networks see, by antialiased bilinear interpolation.

    Images of 8 bits come out as those of the training did, bit for bit: rows of pixels are weighed first and rounded,
    then columns, with weights in as many bits as 16 hold.

    Source: ``torch.nn.functional.interpolate`` with ``antialias=True``, which follows Pillow.
    """
    for axis, new in ((1, size[1]), (0, size[0])):
        if pixels.shape[axis] != new:
            first, weights = _triangles(pixels.shape[axis], new)
            if pixels.dtype == np.uint8:
                enough = (bits for bits in range(_MOST_BITS) if weights.max() * (1 << bits + 1) + 0.5 >= 1 << 15)
                bits = next(enough, _MOST_BITS)
                whole = np.floor(weights * (1 << bits) + 0.5).astype(np.int32)
                sums = _weighed(pixels.astype(np.int32), first, whole, axis)
                pixels = np.clip((sums + (1 << bits >> 1)) >> bits, 0, 255).astype(np.uint8)
            else:
                pixels = _weighed(pixels, first, weights.astype(np.float32), axis)
    return pixels


def _triangles(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """The first of the pixels that every new one is made of, and the weights of those that follow it [new n]."""
    scale = old / new
    wide = max(scale, 1.0)
    middle = (np.arange(new) + 0.5) * scale
    first = np.maximum(np.floor(middle - wide + 0.5), 0).astype(np.intp)
    place = first[:, None] + np.arange(int(2 * wide) + 2)
    weights = np.where(place < old, np.maximum(1 - np.abs(place + 0.5 - middle[:, None]) / wide, 0), 0)
    return first, weights / weights.sum(axis=1, keepdims=True)


def _weighed(pixels: np.ndarray, first: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Sums of neighbouring rows or columns; a weight beyond the last one is 0."""
    shape = (-1, 1, 1) if axis == 0 else (-1, 1)
    total = np.zeros_like(pixels.take(first, axis))
    for step in range(weights.shape[1]):
        place = np.minimum(first + step, pixels.shape[axis] - 1)
        total += pixels.take(place, axis) * weights[:, step].reshape(shape)
    return total


def as_kind(pixels: np.ndarray, kind: str) -> np.ndarray:
    """Numbers of the kind that a file takes."""
    if kind == "uint8":
        return pixels if pixels.dtype == np.uint8 else np.rint(255 * pixels).astype(np.uint8)
    return pixels.astype(np.float32) / np.float32(255) if pixels.dtype == np.uint8 else pixels


def padded(pixels: np.ndarray, size: Size) -> np.ndarray:
    """An image with its last row and column repeated up to a height and width."""
    more = (size[0] - pixels.shape[0], size[1] - pixels.shape[1])
    return np.pad(pixels, ((0, more[0]), (0, more[1]), (0, 0)), mode="edge")


def enlarged(maps: np.ndarray, size: Size) -> np.ndarray:
    """Maps [c h w] at another size, bilinearly, with corners not aligned; as they are where they have it already."""
    for axis, new in ((1, size[0]), (2, size[1])):
        old = maps.shape[axis]
        if old != new:
            place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
            first = np.floor(place).astype(np.intp)
            share = (place - first).astype(np.float32)[:, None] if axis == 1 else (place - first).astype(np.float32)
            after = np.minimum(first + 1, old - 1)
            maps = maps.take(first, axis) * (1 - share) + maps.take(after, axis) * share
    return maps
