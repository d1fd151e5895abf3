"""The random changes of a training frame: turned, cropped, mirrored and tinted.

What changes at random is drawn before a frame is read, so only the pixels that a turned and cropped frame is made of
have to be decoded. Images are changed while they have 8 bits and become floats last: a pixel's tint depends on nothing
but its 8 bits and one mean over the image, so a table of 256 floats per channel holds every outcome. Depth only ever
moves: it is turned by nearest neighbour, so no measurement is mixed with a hole or with the surface behind it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8
from torch import Tensor

from ensemble.data.transforms import Sample
from ensemble.settings.schema import AugmentationSettings, DataSettings

cv2.setNumThreads(1)  # loader processes share the cores already

Plane = UInt8[np.ndarray, "h w"]
"""One channel of an image."""

_MARGIN = 2
"""Pixels around a turned crop: one for the neighbour that is interpolated with, one for rounding."""

_GREY = np.array((0.2989, 0.587, 0.114))
"""Shares of red, green and blue in brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class Area:
    """A rectangle of pixels, by its first row and column."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and its columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


@dataclass(frozen=True)
class Tint:
    """Factors of brightness, of contrast, and of red, green and blue."""

    brightness: float
    contrast: float
    colour: tuple[float, float, float]


@dataclass(frozen=True)
class Change:
    """The random change of one training frame.

    Attributes:
        degrees: Turned counter-clockwise about the centre of the frame.
        area: Cut out of the turned frame; all of it where absent.
        mirrored: Left and right change places.
        tint: Of the image; absent where it keeps its colours.
    """

    degrees: float
    area: Area | None
    mirrored: bool
    tint: Tint | None

    def area_read(self, size: tuple[int, int]) -> Area:
        """The pixels of a frame of this height and width that decide the outcome, and a few more."""
        area = self.area or Area(0, 0, *size)
        if self.degrees == 0:
            return area
        sine, cosine = math.sin(math.radians(self.degrees)), math.cos(math.radians(self.degrees))
        across = [area.left + edge + 0.5 - size[1] / 2 for edge in (0, area.width - 1)]
        down = [area.top + edge + 0.5 - size[0] / 2 for edge in (0, area.height - 1)]
        top, bottom = _span([cosine * y + sine * x + size[0] / 2 for x in across for y in down], size[0])
        left, right = _span([cosine * x - sine * y + size[1] / 2 for x in across for y in down], size[1])
        return Area(top, left, bottom - top, right - left)


def draw_change(settings: DataSettings, generator: np.random.Generator) -> Change:
    """What happens to a training frame; the generator's state alone decides it."""
    changes = settings.augmentation
    degrees = float(generator.uniform(-changes.rotation, changes.rotation))
    area = _draw_area(settings, generator)
    mirrored = bool(generator.random() < changes.flip)
    tint = _draw_tint(changes, generator) if generator.random() < changes.photometric else None
    return Change(degrees, area, mirrored, tint)


def changed(sample: Sample, change: Change) -> Sample:
    """The sample with a change that was drawn before; the image becomes floats in [0, 1].

    Everything that stands in ``sample`` at the image's size moves together: ``image``, ``depth``, ``valid`` and, where
    present, ``predictions`` (``[k h w]``, metres). What turns in from outside the frame is invalid and black. Only
    ``change.area_read`` of the whole frame is looked at.
    """
    size = (sample["image"].shape[1], sample["image"].shape[2])
    area = change.area or Area(0, 0, *size)
    move = _turn(change, area, size) if change.degrees else _cut(change, area)
    planes = [move(plane, cv2.INTER_LINEAR) for plane in _planes(sample["image"])]
    image = torch.empty(3, area.height, area.width)
    for plane, table, out in zip(planes, _tables(planes, change.tint), image.numpy(), strict=True):
        cv2.LUT(plane, table, dst=out)
    maps = {name: values for name, values in sample.items() if name != "image"}
    return {"image": image, **{name: _moved(values, move) for name, values in maps.items()}}


_Move = Callable[[np.ndarray, int], np.ndarray]
"""Moves one plane of pixels with an interpolation of OpenCV: linear, or nearest, which keeps the values."""


def _moved(values: Tensor, move: _Move) -> Tensor:
    """Maps of depth or validity; all of them are moved as floats, so that all of them are rounded alike."""
    floats = values.to(torch.float32).numpy()
    return torch.from_numpy(np.stack([move(plane, cv2.INTER_NEAREST) for plane in floats])).to(values.dtype)


def _cut(change: Change, area: Area) -> _Move:
    rows, columns = area.slices

    def move(plane: np.ndarray, _: int) -> np.ndarray:
        part = plane[rows, columns]
        return np.ascontiguousarray(part[:, ::-1] if change.mirrored else part)

    return move


def _turn(change: Change, area: Area, size: tuple[int, int]) -> _Move:
    """Turns the frame and cuts the area out of it, in one step."""
    origins, shape = _origins(change, area, size), (area.width, area.height)
    return lambda plane, how: cv2.warpAffine(plane, origins, shape, flags=cv2.WARP_INVERSE_MAP | how, borderValue=0)


def _origins(change: Change, area: Area, size: tuple[int, int]) -> Float64[np.ndarray, "2 3"]:
    """Maps (column, row) of the changed area to the place in the frame that it comes from."""
    sine, cosine = math.sin(math.radians(change.degrees)), math.cos(math.radians(change.degrees))
    turn = np.array(((cosine, -sine), (sine, cosine)))
    middle = np.array(((size[1] - 1) / 2, (size[0] - 1) / 2))
    step = np.array((-1.0 if change.mirrored else 1.0, 1.0))
    first = np.array((area.left + (area.width - 1 if change.mirrored else 0), area.top)) - middle
    return np.column_stack((turn * step, turn @ first + middle))


def _planes(image: UInt8[Tensor, "3 h w"]) -> Sequence[Plane]:
    """The channels, each by itself in memory: decoders of files give the three values of a pixel side by side."""
    pixels = image.permute(1, 2, 0).numpy()
    return cv2.split(pixels) if pixels.flags.c_contiguous else list(image.contiguous().numpy())


def _tables(planes: Sequence[Plane], tint: Tint | None) -> Float32[np.ndarray, "3 256"]:
    """What every 8-bit value of every channel becomes in [0, 1].

    Brightness is a factor, contrast moves away from the mean grey of the image, colour is a factor of its own for each
    channel; every one of them is cut off at 0 and 1.
    """
    values = np.arange(256) / 255
    if tint is None:
        return np.tile(values, (3, 1)).astype(np.float32)
    bright = np.clip(values * tint.brightness, 0, 1)
    counts = [cv2.calcHist([plane], [0], None, [256], [0, 256]).ravel() for plane in planes]
    mean = _GREY @ (np.stack(counts).astype(np.float64) @ bright) / planes[0].size
    contrasted = np.clip(tint.contrast * bright + (1 - tint.contrast) * mean, 0, 1)
    return np.clip(np.outer(tint.colour, contrasted), 0, 1).astype(np.float32)


def _span(edges: list[float], length: int) -> tuple[int, int]:
    """First and last but one pixel between the outermost of some edges, with a margin, inside of the frame."""
    first, last = math.floor(min(edges)) - _MARGIN, math.ceil(max(edges)) + _MARGIN
    return min(max(first, 0), length), max(min(last, length), 0)


def _draw_area(settings: DataSettings, generator: np.random.Generator) -> Area | None:
    """A crop of ``settings.crop`` inside the crop region; the whole frame where no crop is set."""
    if settings.crop is None:
        return None
    (top, left, region_height, region_width), (height, width) = settings.crop_region, settings.crop
    top += int(generator.integers(region_height - height + 1))
    left += int(generator.integers(region_width - width + 1))
    return Area(top, left, height, width)


def _draw_tint(changes: AugmentationSettings, generator: np.random.Generator) -> Tint:
    brightness, contrast = generator.uniform(*changes.brightness), generator.uniform(*changes.contrast)
    red, green, blue = map(float, generator.uniform(*changes.colour, size=3))
    return Tint(brightness, contrast, (red, green, blue))
