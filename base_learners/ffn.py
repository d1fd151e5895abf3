"""Feature fusion network: every map of a strong encoder at one width, summed between residual units.

Source: Xian et al. 2018, Monocular Relative Depth Perception with Web Stereo Data Supervision, section 4.1, on
ResNeSt-101 as in Wang et al. 2021. The common width, which neither says, is 256: 67.4 million parameters in all.
Deviations: the output is a sigmoid over ``max_depth`` that starts at indoor depths, in place of relative depth.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from base_learners.blocks import ResidualUnit, initialise, start_indoors, upsample_to
from base_learners.contract import DepthPrediction, DepthTarget, ValidMask
from base_learners.encoders.pyramid import Encoder
from base_learners.losses import resize_like, scale_invariant_log_loss


class Fusion(nn.Module):
    """A map of the encoder at the common width, added to what is coarser and refined."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.bring = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.own, self.both = ResidualUnit(width), ResidualUnit(width)

    def forward(self, skip: Float[Tensor, "b c h w"], coarser: Tensor | None) -> Float[Tensor, "b width h w"]:
        """The fused map of this stride."""
        x = self.own(self.bring(skip))
        return self.both(x if coarser is None else x + upsample_to(coarser, x))


class FFN(nn.Module):
    """Image to metres; a teacher, slow and good.

    Args:
        max_depth: Metres; the largest depth.
        min_depth: Metres; the smallest depth.
        width: Channels of every fused map.
    """

    def __init__(self, encoder: Encoder, *, max_depth: float = 10.0, min_depth: float = 1e-3, width: int = 256) -> None:
        super().__init__()
        self.min_depth, self.max_depth = min_depth, max_depth
        self.encoder = encoder
        self.fusions = nn.ModuleList(Fusion(channels, width) for channels in reversed(encoder.channels))
        self.last = nn.Sequential(
            nn.Conv2d(width, width // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width // 2, 1, 3, padding=1, bias=False),
            nn.BatchNorm2d(1),
        )
        for part in (self.fusions, self.last):
            initialise(part)
        start_indoors(self.last[-1])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> DepthPrediction:
        """Depth at the image's size."""
        x, maps = None, []
        for fuse, skip in zip(self.fusions, reversed(self.encoder(image)), strict=True):
            x = fuse(skip, x)
            maps.append(x)
        depth = self.max_depth * torch.sigmoid(upsample_to(self.last(maps[-1]).float(), image))
        return DepthPrediction(depth.clamp(min=self.min_depth), decoder=tuple(maps[1:]))


def ffn_loss(
    prediction: DepthPrediction,
    target: DepthTarget,
    valid: ValidMask,
    *,
    mean_weight: float = 0.85,
    scale: float = 10.0,
) -> Mapping[str, Tensor]:
    """Scale-invariant log error.

    Raises:
        ValueError: No pixel is valid.

    Source: Eigen et al. 2014, eq. 4.
    """
    depth = resize_like(prediction.depth, target)
    return {"silog": scale_invariant_log_loss(depth, target, valid, mean_weight=mean_weight, scale=scale)}
