"""FastDepth: depthwise convolutions that halve their channels, then nearest upsampling and skips that are added.

Source: Wofk et al. 2019, FastDepth, section IV (NNConv5 with depthwise decoder and additive skips) on MobileNet.
Deviations: the last BN is followed by a sigmoid over ``max_depth``, as depth here is positive and bounded (theirs by a
ReLU), and starts at indoor depths; skips of encoders other than MobileNet are brought to the decoder's widths by a 1x1
convolution; log losses take the place of L1.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from base_learners.blocks import initialise, start_indoors, upsample_to
from base_learners.contract import DepthPrediction, DepthTarget, MapsByStride, ValidMask
from base_learners.encoders.pyramid import Encoder
from base_learners.losses import gradient_matching_loss, resize_like, scale_invariant_log_loss


class Halving(nn.Sequential):
    """Depthwise ``kernel`` x ``kernel``, BN and ReLU, then 1x1, BN and ReLU: all of it at the smaller size."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class FastDepth(nn.Module):
    """Image to metres, small and fast.

    Args:
        max_depth: Metres; the largest depth.
        min_depth: Metres; the smallest depth.
        widths: Channels of the decoder at strides 16, 8, 4, 2 and 1, each enlarged after its convolutions.
        kernel: Odd number of rows and columns of the depthwise convolutions.

    Raises:
        ValueError: ``widths`` are not five, or ``kernel`` is even.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        max_depth: float = 10.0,
        min_depth: float = 1e-3,
        widths: Sequence[int] = (512, 256, 128, 64, 32),
        kernel: int = 5,
    ) -> None:
        super().__init__()
        if len(widths) != 5:
            raise ValueError(f"FastDepth: widths {tuple(widths)}, expected five, for strides 16, 8, 4, 2 and 1")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"FastDepth: kernel {kernel}, expected an odd number of pixels such as 5")
        self.min_depth, self.max_depth = min_depth, max_depth
        self.encoder = encoder
        skip2, skip4, skip8, _, deepest = encoder.channels
        inputs = (deepest, *widths[:-1])
        self.decoder = nn.ModuleList(
            Halving(above, width, kernel=kernel) for above, width in zip(inputs, widths, strict=True)
        )
        self.skips = nn.ModuleList(
            nn.Identity() if skip == width else nn.Conv2d(skip, width, 1, bias=False)
            for skip, width in zip((skip8, skip4, skip2), widths[1:4], strict=True)
        )
        self.last = nn.Sequential(nn.Conv2d(widths[-1], 1, 1, bias=False), nn.BatchNorm2d(1))
        for part in (self.decoder, self.skips, self.last):
            initialise(part)
        start_indoors(self.last[-1])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> DepthPrediction:
        """Depth at the image's size."""
        return self.with_maps(image)[0]

    def with_maps(self, image: Float[Tensor, "b 3 h w"]) -> tuple[DepthPrediction, MapsByStride]:
        """Depth at the image's size, and the decoder's maps after their skips were added."""
        skip2, skip4, skip8, skip16, x = self.encoder(image)
        added = (None, *(bring(skip) for bring, skip in zip(self.skips, (skip8, skip4, skip2), strict=True)), None)
        likes, maps = {16: skip16, 8: skip8, 4: skip4, 2: skip2, 1: image}, {}
        for halve, (stride, like), skip in zip(self.decoder, likes.items(), added, strict=True):
            x = upsample_to(halve(x), like, mode="nearest")
            x = maps[stride] = x if skip is None else x + skip
        depth = self.max_depth * torch.sigmoid(self.last(x).float())
        return DepthPrediction(depth.clamp(min=self.min_depth)), maps


def fastdepth_loss(
    prediction: DepthPrediction,
    target: DepthTarget,
    valid: ValidMask,
    *,
    mean_weight: float = 0.85,
    scale: float = 10.0,
    gradient_weight: float = 0.0,
    gradient_scales: int = 4,
) -> Mapping[str, Tensor]:
    """Scale-invariant log error (``mean_weight``, ``scale``), and gradient matching where it has a weight.

    Raises:
        ValueError: No pixel is valid.

    Source: Eigen et al. 2014, eq. 4; Ranftl et al. 2022, eq. 11, in log depth.
    """
    depth = resize_like(prediction.depth, target)
    terms = {"silog": scale_invariant_log_loss(depth, target, valid, mean_weight=mean_weight, scale=scale)}
    if gradient_weight:
        matching = gradient_matching_loss(depth, target, valid, scales=gradient_scales)
        terms["gradient"] = gradient_weight * matching
    return terms
