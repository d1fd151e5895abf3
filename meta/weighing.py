"""The meta-learner at work: the learners' depths of images, weighed and fused."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from meta.fusion import shares, split_maps
from meta.inputs import assemble
from meta.unet import MetaUNet


class Fused(NamedTuple):
    """What a meta-learner makes of its learners' depth of images.

    Attributes:
        depth: Metres, [b 1 h w].
        maps: Of the meta-learner, [b maps h w], weights of the learners first.
        learners: Their depth, [b k h w] in metres.
        shares: Their weights as shares that sum to one, [b k h w].
    """

    depth: Tensor
    maps: Tensor
    learners: Tensor
    shares: Tensor

    def of(self, index: int) -> "Fused":
        """The same of one of the images."""
        return Fused(*(maps[index : index + 1] for maps in self))


def fused_by(
    network: MetaUNet,
    image: Float[Tensor, "b 3 h w"],
    depths: Float[Tensor, "b k h w"],
    *,
    inputs: str,
    max_depth: float,
    flip: bool,
) -> Fused:
    """Weigh the learners' depths in metres of images in [0, 1].

    Args:
        network: The meta-learner.
        image: RGB.
        depths: Metres.
        inputs: What the network sees, a key of ``INPUTS``.
        max_depth: Metres.
        flip: Average the weights with those of the mirrored image, which goes through the network beside it.
    """
    both = torch.cat([image, depths], dim=1)
    both = torch.cat([both, both.flip(-1)]) if flip else both
    seen = assemble(inputs, both[:, :3], both[:, 3:], max_depth=max_depth)
    maps = network.with_scale(network(seen.to(image.dtype)).float(), both[:, :3], both[:, 3:])
    if flip:
        straight, mirrored = maps.chunk(2)
        maps = (straight + mirrored.flip(-1)) / 2
    weights, _ = split_maps(maps, network.learners)
    return Fused(network.fuse(maps, depths), maps, depths, shares(weights, network.weights))
