"""MetaUNet: channels to one weight per learner and pixel, starting exactly at the mean.

Source: widths of the published stacking study's GhostNet U-Net. Deviations: the
logits have a learned scale and shift per learner where the study has BN, which would blow small logits up to unit
variance; and the last convolution starts at zero, so that an untrained network averages the learners. The study has
softmax weights for metres alone; free weights, corrections, logs and coarser weights are ours.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from meta.correction import Correction
from meta.fusion import SPACES, WEIGHTS, fuse, split_maps

REMOVED = {
    "softmax+bias": "it was taken out for correct, which shrinks what it adds; a run with it is read by the package of "
    "commit 6199044 and before, or fit it again with --set network.weights=correct --fresh"
}
"""Kinds of weights that runs of former times may have, and what to do with these."""


@runtime_checkable
class Pyramid(Protocol):
    """What the encoder must be: a module from channels to five maps, with the number of channels of each."""

    channels: tuple[int, ...]

    def __call__(self, channels: Tensor, /) -> list[Tensor]:
        """Five maps at strides 2 to 32, finest first."""
        ...


class SeparableBlock(nn.Sequential):
    """Depthwise 3x3, BN, LeakyReLU and pointwise 1x1, closed by BN and LeakyReLU unless it is the last."""

    def __init__(self, inputs: int, outputs: int, *, last: bool = False) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.LeakyReLU(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            *([] if last else [nn.BatchNorm2d(outputs), nn.LeakyReLU()]),
        )


class MetaUNet(nn.Module):
    """The meta-learner: weights of the learners at every pixel, which an untrained network gives all of them alike.

    Args:
        encoder: The pyramid of features, built for the channels of the meta-inputs.
        widths: Channels of the decoder at strides 16, 8, 4, 2 and 1.
        bottleneck: Channels of the first 1x1 convolution; those of the deepest map where absent.
        weights: Key of ``meta.fusion.WEIGHTS``: ``softmax`` (non-negative, sum one), ``correct`` (one weight per
            learner, which is given, and corrections of the log depth), ``free`` (any real numbers).
        space: Key of ``meta.fusion.SPACES``: whether depths are fused in metres or in logs; ``correct`` knows logs
            alone.
        stride: One weight for so many rows and columns of pixels, interpolated between them; 1 weighs every pixel.
        smooth: Odd number of rows and columns over which weights are averaged before the softmax; 1 averages nothing.
        correction: Of a network that corrects; one with equal weights and without a scale where absent.
    """

    def __init__(
        self,
        encoder: Pyramid,
        *,
        learners: int,
        widths: Sequence[int] = (480, 240, 120, 60, 30),
        bottleneck: int | None = None,
        weights: str = "softmax",
        space: str = "depth",
        stride: int = 1,
        smooth: int = 1,
        correction: Correction | None = None,
    ) -> None:
        super().__init__()
        _check(weights, space, stride, smooth)
        self.encoder = encoder
        corrects = weights == "correct"
        self.learners, self.weights, self.space = learners, weights, "log" if corrects else space
        self._stride, self._smooth = stride, smooth
        *skips, deepest = encoder.channels
        bottleneck = bottleneck or deepest
        self.bottleneck = nn.Conv2d(deepest, bottleneck, 1)
        inputs = [bottleneck, *(width + skip for width, skip in zip(widths[:-1], reversed(skips), strict=True))]
        self.decoder = nn.ModuleList(SeparableBlock(above, width) for above, width in zip(inputs, widths, strict=True))
        maps = 1 if corrects else learners
        self.logits = SeparableBlock(widths[-1], maps, last=True)
        self.scale = nn.Parameter(torch.ones(maps, 1, 1))
        self.shift = nn.Parameter(torch.zeros(maps, 1, 1), requires_grad=not corrects)  # a residual has mean 0
        self.correction = (correction or Correction(learners)) if corrects else None
        self._initialise()

    def forward(self, channels: Float[Tensor, "b c h w"]) -> Float[Tensor, "b maps h w"]:
        """Weights of the learners, then the residual if they are corrected, in float32 and at the input's size.

        The mean of several such answers is one too: weights of their kind, and a correction in logs.
        """
        *skips, x = self.encoder(channels)
        x = self.bottleneck(x)
        for block, skip in zip(self.decoder, [*reversed(skips), None], strict=True):
            size = (channels if skip is None else skip).shape[-2:]
            x = F.interpolate(block(x), size=size, mode="bilinear", align_corners=False)
            x = x if skip is None else torch.cat([x, skip], dim=1)
        raw = self._coarsened(self.scale * self.logits(x).float() + self.shift)
        if self.correction is not None:
            return self.correction.maps(raw)
        return 1 / self.learners + raw if self.weights == "free" else raw.softmax(dim=1)

    def with_scale(
        self,
        maps: Float[Tensor, "b maps h w"],
        image: Float[Tensor, "b 3 h w"],
        depths: Float[Tensor, "b k h w"],
    ) -> Float[Tensor, "b maps h w"]:
        """What ``forward`` returned for images in [0, 1], with their scale corrected where the network does that."""
        return maps if self.correction is None else self.correction.with_scale(maps, image, depths)

    def fuse(self, maps: Float[Tensor, "b maps h w"], depths: Float[Tensor, "b k h w"]) -> Float[Tensor, "b 1 h w"]:
        """Depth in metres from what ``forward`` returned, or from the mean of several such answers."""
        weights, bias = split_maps(maps, self.learners)
        return fuse(weights, depths, bias=bias, space=self.space)

    def begin_with(self, copies: Sequence[int]) -> None:
        """Let an untrained network weigh learners by how often each counts, in place of alike."""
        counts = torch.tensor(copies, dtype=torch.float32)
        shares = counts / counts.sum()
        if self.correction is not None:
            self.correction.weights.copy_(shares)
            return
        prior = shares - 1 / self.learners if self.weights == "free" else shares.log()
        with torch.no_grad():
            self.shift[: self.learners, 0, 0] = prior

    def _coarsened(self, maps: Float[Tensor, "b maps h w"]) -> Float[Tensor, "b maps h w"]:
        """Means over regions, interpolated between their centres, then means over windows that end at the border."""
        height, width = maps.shape[-2:]
        if self._stride > 1:
            regions = -(-height // self._stride), -(-width // self._stride)
            maps = F.interpolate(
                F.adaptive_avg_pool2d(maps, regions), size=(height, width), mode="bilinear", align_corners=False
            )
        if self._smooth > 1:
            maps = F.avg_pool2d(maps, self._smooth, 1, self._smooth // 2, count_include_pad=False)
        return maps

    def _initialise(self) -> None:
        for part in (self.bottleneck, self.decoder, self.logits):
            for layer in part.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
        for weight in self.logits[-1].parameters():
            nn.init.zeros_(weight)


def _check(weights: str, space: str, stride: int, smooth: int) -> None:
    if weights in REMOVED:
        raise ValueError(f"MetaUNet: weights {weights!r} are no longer there: {REMOVED[weights]}")
    for name, value, known in (("weights", weights, WEIGHTS), ("space", space, SPACES)):
        if value not in known:
            raise ValueError(f"MetaUNet: {name} {value!r} is unknown, expected one of {', '.join(known)}")
    if stride < 1:
        raise ValueError(f"MetaUNet: stride {stride}, expected at least 1 pixel")
    if smooth < 1 or smooth % 2 == 0:
        raise ValueError(f"MetaUNet: smooth {smooth}, expected an odd number of pixels such as 15, or 1 for none")
