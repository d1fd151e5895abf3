"""From raw frames to tensors of the working size, and the random changes of a training frame.

Depth only ever moves: it is resized and turned by nearest neighbour, so no measurement is mixed with a hole or with
the surface behind it.

What changes at random is drawn before a frame is read. So only the pixels that a turned and cropped frame is made of
have to be decoded, brought to floats and turned; every one of them comes out as if the whole frame had been turned
and then cut.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from ensemble.config import AugmentationSettings, DataSettings
from ensemble.data.source import RawFrame

Sample = dict[str, Tensor]
"""Tensors of one size: ``image`` in [0, 1] or 0 .. 255 (uint8), ``depth`` in metres, ``valid``, maybe more depths."""

_MARGIN = 2
"""Pixels around a turned crop: one for the neighbour that is interpolated with, one for rounding."""


@dataclass(frozen=True)
class Area:
    """A rectangle of pixels.

    Attributes:
        top: First row.
        left: First column.
        height: Number of rows.
        width: Number of columns.
    """

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


def bring_to_size(raw: RawFrame, size: tuple[int, int]) -> Sample:
    """A raw frame as tensors of the working size: ``image``, ``depth`` in metres and ``valid``."""
    sample = pixels_at_size(raw, size)
    return {**sample, "image": unit_image(sample["image"])}


def pixels_at_size(raw: RawFrame, size: tuple[int, int]) -> Sample:
    """Like ``bring_to_size``, but the image stays in 8 bits."""
    depth, valid = raw.depth, raw.valid
    if depth.shape != tuple(size):
        rows, columns = (
            ((np.arange(new) + 0.5) * (old / new)).astype(np.intp) for new, old in zip(size, depth.shape, strict=True)
        )
        depth, valid = (values.take(rows, axis=0).take(columns, axis=1) for values in (depth, valid))
    depth, valid = (np.require(values, requirements=("C", "W")) for values in (depth, valid))
    return {
        "image": _resized(raw.image, size),
        "depth": torch.from_numpy(depth)[None],
        "valid": torch.from_numpy(valid)[None],
    }


def resize_image(image: UInt8[np.ndarray, "old_h old_w 3"], size: tuple[int, int]) -> Float[Tensor, "3 h w"]:
    """The image in [0, 1] at another size, by antialiased bilinear interpolation."""
    return unit_image(_resized(image, size))


def unit_image(pixels: UInt8[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """An image of 8 bits as floats in [0, 1]."""
    return pixels.contiguous().to(torch.float32).div_(255)


def valid_depth(depth: Float[Tensor, "*any"], min_depth: float, max_depth: float) -> Bool[Tensor, "*any"]:
    """Where depth is a number strictly between the two limits, all in metres."""
    return torch.isfinite(depth) & (depth > min_depth) & (depth < max_depth)


def augment(sample: Sample, settings: DataSettings, generator: np.random.Generator) -> Sample:
    """A training sample out of a whole frame: turned, cropped, mirrored and tinted at random.

    Args:
        sample: Tensors of the working size.
        settings: The augmentation, and where crops are taken from.
        generator: The only source of randomness; its state alone decides the outcome.
    """
    return changed(sample, draw_change(settings, generator))


def changed(sample: Sample, change: Change) -> Sample:
    """The sample with a change that was drawn before; the image becomes floats in [0, 1].

    Everything that stands in ``sample`` at the image's size moves together: ``image``, ``depth``, ``valid`` and, where
    present, ``predictions`` (``[k h w]``, metres). What turns in from outside the frame is invalid and black.

    Args:
        sample: Tensors of the whole frame, of which only ``change.area_read`` is looked at.
        change: What to do.
    """
    height, width = sample["image"].shape[1:]
    area = change.area or Area(0, 0, height, width)
    if change.degrees:
        moved = _turned(sample, change, area)
    else:
        moved = {name: values[:, *area.slices] for name, values in sample.items()}
        if moved["image"].dtype == torch.uint8:
            moved["image"] = unit_image(moved["image"])
        if change.mirrored:
            moved = flip(moved)
    if change.tint is not None:
        moved["image"] = _tinted(moved["image"], change.tint)
    return {name: values.contiguous() for name, values in moved.items()}


def rotate(sample: Sample, degrees: float) -> Sample:
    """The sample turned counter-clockwise about its centre; pixels from outside become invalid."""
    return changed(sample, Change(degrees, None, mirrored=False, tint=None))


def flip(sample: Sample) -> Sample:
    """The sample mirrored left to right."""
    return {name: values.flip(-1) for name, values in sample.items()}


def _turned(sample: Sample, change: Change, area: Area) -> Sample:
    """The area of the turned frame, mirrored where that is asked for.

    The tensors to sample from keep the size of the frame, though only a part of them is filled: coordinates then are
    those of the whole frame to the last bit. Pages of zeros that nobody looks at cost nothing.
    """
    size = (sample["image"].shape[1], sample["image"].shape[2])
    read = change.area_read(size).slices
    grid = _turning_grid(change, area, size)
    image = sample["image"]
    if image.dtype == torch.uint8:
        image = torch.zeros(image.shape)
        torch.div(sample["image"][:, *read], 255, out=image[:, *read])
    names = [name for name in sample if name != "image"]
    counts = [len(sample[name]) for name in names]
    maps = torch.zeros(sum(counts), *size)
    for name, part in zip(names, maps.split(counts), strict=True):
        part[:, *read] = sample[name][:, *read].to(torch.float32)
    image = grid_sample(image[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    parts = grid_sample(maps[None], grid, mode="nearest", padding_mode="zeros", align_corners=False)[0].split(counts)
    return {"image": image, **{name: part.to(sample[name].dtype) for name, part in zip(names, parts, strict=True)}}


def _turning_grid(change: Change, area: Area, size: tuple[int, int]) -> Float[Tensor, "1 h w 2"]:
    """Where in the frame each pixel of the turned area comes from, in the coordinates of ``grid_sample``.

    Source: the arithmetic of torchvision 0.26 ``rotate``, of which this is a cut-out; tests hold the two equal.
    """
    height, width = size
    rows, columns = area.slices
    across = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, steps=width)[columns]
    down = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, steps=height)[rows]
    places = torch.ones(1, area.height, area.width, 3)
    places[..., 0] = across.flip(0) if change.mirrored else across
    places[..., 1] = down[:, None]
    angle = math.radians(-(change.degrees % 360))
    sine, cosine = math.sin(angle), math.cos(angle)
    turn = torch.tensor([[[cosine, -sine], [sine, cosine], [0.0, 0.0]]]).div_(torch.tensor([0.5 * width, 0.5 * height]))
    return places.view(1, -1, 3).bmm(turn).view(1, area.height, area.width, 2)


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


def _tinted(image: Float[Tensor, "3 h w"], tint: Tint) -> Float[Tensor, "3 h w"]:
    """The image with other brightness, contrast and balance of its channels."""
    image = functional.adjust_brightness(image, tint.brightness)
    image = functional.adjust_contrast(image, tint.contrast)
    return image.mul_(torch.tensor(tint.colour, dtype=torch.float32)[:, None, None]).clamp_(0, 1)


def _resized(image: UInt8[np.ndarray, "old_h old_w 3"], size: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
    if image.shape[:2] == tuple(size):
        return torch.from_numpy(np.require(image, requirements=("W",))).permute(2, 0, 1)
    pixels = torch.from_numpy(np.require(image, requirements=("C", "W"))).permute(2, 0, 1)
    return functional.resize(pixels, list(size), InterpolationMode.BILINEAR, antialias=True)
