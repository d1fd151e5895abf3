"""Frames as they are meant to be seen: upright, in square pixels, and all of a film in the shape of its first."""

from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

MOST_UNEVEN = 8
"""Pixels more uneven than this, either way, are a mistake of whoever wrote the film: those of films are within 2."""

_SAME = 0.01
"""Share of a side by which pictures of one shape may differ, since sides are whole pixels, or blocks of them."""


class Place(NamedTuple):
    """Where the picture of a frame lies in the frame that is shown: with the shape of another one, bars stay free."""

    rows: slice
    columns: slice


def check_aspect(aspect: Fraction, place: str) -> None:
    """Refuse pixels that cannot be meant.

    Raises:
        ValueError: They are far wider than high, or far higher than wide.
    """
    if not Fraction(1, MOST_UNEVEN) <= aspect <= MOST_UNEVEN:
        raise ValueError(
            f"{place}: says that its pixels are {float(aspect):.3g} times as wide as high, expected 1/{MOST_UNEVEN} to "
            f"{MOST_UNEVEN}; ffmpeg -i FILE -c copy -aspect 16:9 NEW.mkv writes one that says how wide its pictures are"
        )


def seen_by_people(frame: av.VideoFrame, aspect: Fraction) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of a frame: as wide as high, and turned as phones say that they hold the film.

    Args:
        frame: As it was decoded.
        aspect: How many times as wide as high its pixels are.
    """
    wider = {} if aspect == 1 else {"width": max(1, round(frame.width * aspect)), "interpolation": "BICUBIC"}
    pixels = frame.to_ndarray(format="rgb24", **wider)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def place_of(found: tuple[int, int], size: tuple[int, int]) -> Place:
    """Where pictures of a height and width lie in frames of another: as large as they fit, in the middle."""
    scale = min(most / side for most, side in zip(size, found, strict=True))
    taken = [min(most, max(1, round(scale * side))) for most, side in zip(size, found, strict=True)]
    taken = [most if most - side <= max(1, _SAME * most) else side for most, side in zip(size, taken, strict=True)]
    return Place(
        *(slice((most - side) // 2, (most - side) // 2 + side) for most, side in zip(size, taken, strict=True))
    )


def brought_to(image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "_h _w 3"]:
    """A picture in frames of a height and width; black beside it, where it has another shape."""
    if image.shape[:2] == size:
        return image
    place = place_of((image.shape[0], image.shape[1]), size)
    height, width = (each.stop - each.start for each in place)
    return framed(np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)), place, size, 0)


def framed(
    picture: Shaped[np.ndarray, "h w ..."], place: Place, size: tuple[int, int], beside: float
) -> Shaped[np.ndarray, "_h _w ..."]:
    """What belongs to a picture in frames of a height and width, with one value beside it."""
    if picture.shape[:2] == size:
        return picture
    whole = np.full((*size, *picture.shape[2:]), beside, picture.dtype)
    whole[place] = picture
    return whole
