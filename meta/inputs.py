"""What the meta-learner sees: the image, the learners' depths, or both, as one stack of channels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DEPTH_MEAN, DEPTH_STD = 0.25, 0.25
"""Of depth divided by the largest depth: indoor scenes lie around a quarter of it."""


@dataclass(frozen=True)
class MetaInputs:
    """One kind of input: whether the image's three channels come first, and whether one channel per learner follows."""

    image: bool
    depth: bool


INPUTS: dict[str, MetaInputs] = {
    "rgb": MetaInputs(image=True, depth=False),
    "d": MetaInputs(image=False, depth=True),
    "rgb+d": MetaInputs(image=True, depth=True),
}
"""Every kind of input by the name used on the command line."""


def assemble(
    kind: str, image: Float[Tensor, "b 3 h w"], depths: Float[Tensor, "b k depth_h depth_w"], *, max_depth: float
) -> Float[Tensor, "b channels _h _w"]:
    """Stack the channels of a kind of input, depths in metres and divided by the largest; the encoder normalises them.

    Raises:
        ValueError: The kind is unknown, or image and depths differ in size where both are used.
    """
    wanted = _named(kind)
    if wanted.image and wanted.depth and image.shape[-2:] != depths.shape[-2:]:
        raise ValueError(
            f"meta inputs {kind}: image is {tuple(image.shape[-2:])} and depths are {tuple(depths.shape[-2:])}; "
            "expected one size: cache predictions and load images at the same data.size"
        )
    parts = ([image] if wanted.image else []) + ([depths / max_depth] if wanted.depth else [])
    return torch.cat(parts, dim=1)


def channel_count(kind: str, learners: int) -> int:
    """Channels of a kind of input for a number of learners; an unknown kind is refused."""
    wanted = _named(kind)
    return 3 * wanted.image + learners * wanted.depth


def normalisation(
    kind: str, learners: int, *, image_mean: Sequence[float] | None = None, image_std: Sequence[float] | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of every channel, for the encoder; those of an image are ImageNet's where absent."""
    wanted = _named(kind)
    depth_channels = learners * wanted.depth
    mean = (*(image_mean or IMAGENET_MEAN),) * wanted.image + (DEPTH_MEAN,) * depth_channels
    std = (*(image_std or IMAGENET_STD),) * wanted.image + (DEPTH_STD,) * depth_channels
    return mean, std


def _named(kind: str) -> MetaInputs:
    if kind not in INPUTS:
        raise ValueError(f"meta inputs: {kind!r} is unknown, expected one of {', '.join(INPUTS)}")
    return INPUTS[kind]
