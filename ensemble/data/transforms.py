"""From raw frames to tensors of the working size.

Depth only ever moves: it is resized by nearest neighbour, so no measurement is mixed with a hole or with the surface
behind it.
"""

import platform
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor
from torch.nn import functional as F

from ensemble.data.source import RawFrame

Sample = dict[str, Tensor]
"""Tensors of one size: ``image`` in [0, 1] or 0 .. 255 (uint8), ``depth`` in metres, ``valid``, maybe more depths."""


STRIDE = 32
"""Pixels that the deepest map of an encoder has one for: images of other shapes are padded to whole multiples."""


class Original(NamedTuple):
    """What an image of working size was made of, where learners with a size of their own take their view from.

    Attributes:
        pixels: [b 3 h w], one image of 8 bits or floats in [0, 1].
        inside: Its height and width within the image of working size, what was padded left out.
    """

    pixels: Tensor
    inside: tuple[int, int]


def seen_at(pixels: Shaped[Tensor, "b 3 _h _w"], size: Sequence[int]) -> Float[Tensor, "b 3 h w"]:
    """Images as floats at the size that networks see, resized as in training."""
    height, width = size
    if pixels.dtype == torch.uint8:
        return resize_image(pixels[0].permute(1, 2, 0).numpy(), (height, width))[None]
    if pixels.shape[-2:] == (height, width):
        return pixels
    return F.interpolate(pixels, (height, width), mode="bilinear", align_corners=False, antialias=True)


def padded(maps: Float[Tensor, "b c _h _w"], size: Sequence[int] | None = None) -> Float[Tensor, "b c h w"]:
    """Maps with their last row and column repeated up to a size; to whole multiples of ``STRIDE`` where absent."""
    height, width = maps.shape[-2:]
    down, right = (-height % STRIDE, -width % STRIDE) if size is None else (size[0] - height, size[1] - width)
    return F.pad(maps, (0, right, 0, down), mode="replicate") if down or right else maps


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
    return (depth > min_depth) & (depth < max_depth)  # neither holds for NaN, and no limit is infinite


def _resized(image: UInt8[np.ndarray, "old_h old_w 3"], size: tuple[int, int]) -> UInt8[Tensor, "3 h w"]:
    """As ``torchvision.transforms.v2`` resizes, bit for bit; importing that takes as long as torch itself."""
    if image.shape[:2] == tuple(size):
        return torch.from_numpy(np.require(image, requirements=("W",))).permute(2, 0, 1)
    pixels = torch.from_numpy(np.require(image, requirements=("C", "W"))).permute(2, 0, 1)[None]
    if torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") or platform.machine() in ("aarch64", "arm64"):
        return F.interpolate(pixels, size, mode="bilinear", antialias=True)[0]
    return F.interpolate(pixels.float(), size, mode="bilinear", antialias=True)[0].round_().to(torch.uint8)
