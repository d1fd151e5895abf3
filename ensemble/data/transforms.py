"""From raw frames to tensors of the working size, and the random changes of a training frame.

Depth only ever moves: it is resized and turned by nearest neighbour, so no measurement is mixed with a hole or with
the surface behind it.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from ensemble.config import AugmentationSettings, DataSettings
from ensemble.data.source import RawFrame

Sample = dict[str, Tensor]


def bring_to_size(raw: RawFrame, size: tuple[int, int]) -> Sample:
    """A raw frame as tensors of the working size: ``image``, ``depth`` in metres and ``valid``."""
    rows, columns = (
        ((np.arange(new) + 0.5) * (old / new)).astype(np.intp) for new, old in zip(size, raw.depth.shape, strict=True)
    )
    depth, valid = (values.take(rows, axis=0).take(columns, axis=1) for values in (raw.depth, raw.valid))
    return {
        "image": resize_image(raw.image, size),
        "depth": torch.from_numpy(depth)[None],
        "valid": torch.from_numpy(valid)[None],
    }


def resize_image(image: UInt8[np.ndarray, "old_h old_w 3"], size: tuple[int, int]) -> Float[Tensor, "3 h w"]:
    """The image in [0, 1] at another size, by antialiased bilinear interpolation."""
    pixels = torch.from_numpy(np.require(image, requirements=("C", "W"))).permute(2, 0, 1)
    if tuple(pixels.shape[1:]) != tuple(size):
        pixels = functional.resize(pixels, list(size), InterpolationMode.BILINEAR, antialias=True)
    return pixels.contiguous().to(torch.float32).div_(255)


def valid_depth(depth: Float[Tensor, "*any"], min_depth: float, max_depth: float) -> Bool[Tensor, "*any"]:
    """Where depth is a number strictly between the two limits, all in metres."""
    return torch.isfinite(depth) & (depth > min_depth) & (depth < max_depth)


def augment(sample: Sample, settings: DataSettings, generator: np.random.Generator) -> Sample:
    """A training sample out of a whole frame: turned, cropped, mirrored and tinted at random.

    Everything that stands in ``sample`` at the image's size moves together: ``image``, ``depth``, ``valid`` and, where
    present, ``predictions`` (``[k h w]``, metres). What turns in from outside the frame is invalid and black.

    Args:
        sample: Tensors of the working size.
        settings: The augmentation, and where crops are taken from.
        generator: The only source of randomness; its state alone decides the outcome.
    """
    changes = settings.augmentation
    moved = rotate(sample, generator.uniform(-changes.rotation, changes.rotation))
    moved = _random_crop(moved, settings, generator)
    if generator.random() < changes.flip:
        moved = flip(moved)
    if generator.random() < changes.photometric:
        moved["image"] = _tint(moved["image"], changes, generator)
    return {name: values.contiguous() for name, values in moved.items()}


def rotate(sample: Sample, degrees: float) -> Sample:
    """The sample turned counter-clockwise about its centre; pixels from outside become invalid."""
    if degrees == 0:
        return dict(sample)
    image = functional.rotate(sample["image"], degrees, InterpolationMode.BILINEAR)
    names = [name for name in sample if name != "image"]
    turned = functional.rotate(torch.cat([sample[name].to(torch.float32) for name in names]), degrees)
    parts = turned.split([len(sample[name]) for name in names])
    maps = {name: part.to(sample[name].dtype) for name, part in zip(names, parts, strict=True)}
    return {"image": image, **maps}


def flip(sample: Sample) -> Sample:
    """The sample mirrored left to right."""
    return {name: values.flip(-1) for name, values in sample.items()}


def _random_crop(sample: Sample, settings: DataSettings, generator: np.random.Generator) -> Sample:
    """A crop of ``settings.crop`` inside the crop region; the whole frame where no crop is set."""
    if settings.crop is None:
        return sample
    (top, left, region_height, region_width), (height, width) = settings.crop_region, settings.crop
    top += int(generator.integers(region_height - height + 1))
    left += int(generator.integers(region_width - width + 1))
    return {name: values[:, top : top + height, left : left + width] for name, values in sample.items()}


def _tint(
    image: Float[Tensor, "3 h w"], changes: AugmentationSettings, generator: np.random.Generator
) -> Float[Tensor, "3 h w"]:
    """The image with other brightness, contrast and balance of its channels."""
    image = functional.adjust_brightness(image, generator.uniform(*changes.brightness))
    image = functional.adjust_contrast(image, generator.uniform(*changes.contrast))
    colour = torch.from_numpy(generator.uniform(*changes.colour, size=(3, 1, 1)).astype(np.float32))
    return (image * colour).clamp_(0, 1)
