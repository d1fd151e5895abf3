"""FFN, a feature fusion network: skips of one width, fused from coarse to fine by sums and residual blocks.

Source: Xian et al. 2018, Monocular Relative Depth Perception with Web Stereo Data Supervision, section 3 (the decoder);
Wang et al. 2021, Knowledge Distillation for Fast and Accurate Monocular Depth Estimation on Mobile Devices, section 3
(on ResNeSt-101, as a teacher). Deviations: the common width, which is not published, is such that the whole has the
75 million parameters that their student has 94.7 % less than; the output goes through a BN and a sigmoid over
``max_depth``, as depth here is positive and bounded, and starts at indoor depths.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from base_learners.blocks import ResidualUnit, initialise, start_indoors, upsample_to
from base_learners.contract import DepthPrediction, MapsByStride
from base_learners.encoders.pyramid import Encoder, Pyramid

NEEDS = Pyramid((4, 8, 16, 32))
"""Strides of the encoder that are fused."""


class Transfer(nn.Sequential):
    """An encoder's map as the decoder wants it: a 3x3 convolution to the common width, and a residual block."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(nn.Conv2d(inputs, width, 3, padding=1, bias=False), ResidualUnit(width))


class FFN(nn.Module):
    """Image to metres, large.

    Args:
        max_depth: Metres; the largest depth.
        min_depth: Metres; the smallest depth.
        width: Channels of every map of the decoder.
    """

    def __init__(self, encoder: Encoder, *, max_depth: float = 10.0, min_depth: float = 1e-3, width: int = 336) -> None:
        super().__init__()
        self.min_depth, self.max_depth = min_depth, max_depth
        self.encoder = encoder
        self.transfers = nn.ModuleList(Transfer(channels, width) for channels in encoder.channels)
        self.fused = nn.ModuleList(ResidualUnit(width) for _ in encoder.channels)
        self.last = nn.Sequential(
            nn.Conv2d(width, width // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width // 2, 1, 3, padding=1, bias=False),
            nn.BatchNorm2d(1),
        )
        for part in (self.transfers, self.fused, self.last):
            initialise(part)
        start_indoors(self.last[-1])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> DepthPrediction:
        """Depth at the image's size."""
        return self.with_maps(image)[0]

    def with_maps(self, image: Float[Tensor, "b 3 h w"]) -> tuple[DepthPrediction, MapsByStride]:
        """Depth at the image's size, and the fused maps after they were enlarged."""
        skips = [transfer(skip) for transfer, skip in zip(self.transfers, self.encoder(image), strict=True)]
        x, maps = torch.zeros_like(skips[-1]), {}
        for stride, fuse, skip, like in zip((16, 8, 4, 2), self.fused, reversed(skips), _finer(skips), strict=True):
            x = fuse(x + skip)
            x = maps[stride] = _doubled(x, image) if like is None else upsample_to(x, like)
        depth = self.max_depth * torch.sigmoid(upsample_to(self.last(x), image).float())
        return DepthPrediction(depth.clamp(min=self.min_depth)), maps


def _finer(skips: list[Tensor]) -> list[Tensor | None]:
    """The skip that every fused map is enlarged to, coarsest first; the last one has none."""
    return [*reversed(skips[:-1]), None]


def _doubled(x: Float[Tensor, "b c h w"], image: Tensor) -> Tensor:
    """The finest fused map at half the height and width of the image, rounded up."""
    return upsample_to(x, image[..., ::2, ::2])
