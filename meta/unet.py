"""MetaUNet: channels to one weight per learner and pixel, starting exactly at the plain mean.

Source: widths of the published stacking study's GhostNet U-Net. Deviations: the
logits have a learned scale and shift per learner where the study has BN, which would blow small logits up to unit
variance; and the last convolution starts at zero, so that an untrained network averages the learners.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


@runtime_checkable
class Pyramid(Protocol):
    """What the encoder must be: a module from channels to five maps, with the number of channels of each."""

    channels: tuple[int, ...]

    def __call__(self, channels: Tensor, /) -> list[Tensor]:
        """Five maps at strides 2 to 32, finest first."""
        ...


class SeparableBlock(nn.Sequential):
    """Depthwise 3x3, BN, LeakyReLU and pointwise 1x1, closed by BN and LeakyReLU unless it is the last.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        last: Whether the pointwise convolution ends the network.
    """

    def __init__(self, inputs: int, outputs: int, *, last: bool = False) -> None:
        closing = [] if last else [nn.BatchNorm2d(outputs), nn.LeakyReLU()]
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.LeakyReLU(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            *closing,
        )


class MetaUNet(nn.Module):
    """The meta-learner: non-negative weights over the learners that sum to one at every pixel.

    Args:
        encoder: The pyramid of features, built for the channels of the meta-inputs.
        learners: Number of learners.
        widths: Channels of the decoder at strides 16, 8, 4, 2 and 1.
        bottleneck: Channels of the first 1x1 convolution; those of the deepest map where absent.
    """

    def __init__(
        self,
        encoder: Pyramid,
        *,
        learners: int,
        widths: Sequence[int] = (480, 240, 120, 60, 30),
        bottleneck: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        *skips, deepest = encoder.channels
        bottleneck = bottleneck or deepest
        self.bottleneck = nn.Conv2d(deepest, bottleneck, 1)
        inputs = [bottleneck, *(width + skip for width, skip in zip(widths[:-1], reversed(skips), strict=True))]
        self.decoder = nn.ModuleList(SeparableBlock(above, width) for above, width in zip(inputs, widths, strict=True))
        self.logits = SeparableBlock(widths[-1], learners, last=True)
        self.scale = nn.Parameter(torch.ones(learners, 1, 1))
        self.shift = nn.Parameter(torch.zeros(learners, 1, 1))
        self._initialise()

    def forward(self, channels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Weights of the learners, in float32 and at the input's size."""
        *skips, x = self.encoder(channels)
        x = self.bottleneck(x)
        for block, skip in zip(self.decoder, [*reversed(skips), None], strict=True):
            size = (channels if skip is None else skip).shape[-2:]
            x = F.interpolate(block(x), size=size, mode="bilinear", align_corners=False)
            x = x if skip is None else torch.cat([x, skip], dim=1)
        return torch.softmax(self.scale * self.logits(x).float() + self.shift, dim=1)

    def _initialise(self) -> None:
        for part in (self.bottleneck, self.decoder, self.logits):
            for layer in part.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
        for weight in self.logits[-1].parameters():
            nn.init.zeros_(weight)
