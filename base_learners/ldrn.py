"""LDRN (LapDepth): depth as a Laplacian pyramid, each residual guided by that of the image.

Source: Song et al. 2021, Monocular Depth Estimation Using Laplacian Pyramid-Based Depth Residuals, section III; the
widths are those of the published GhostNet study. Deviation: the gain that heads start with (see ``head``).
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from base_learners.blocks import upsample_to
from base_learners.contract import DepthPrediction, DepthTarget, MapsByStride, ValidMask
from base_learners.encoders.pyramid import Encoder
from base_learners.losses import resize_like, scale_invariant_log_loss, sobel_gradient_loss

IMAGE_GAIN = 0.1
"""Share of the image's mean Laplacian residual that enters a depth residual directly."""


class WSConv2d(nn.Conv2d):
    """Convolution without bias whose filters are standardised: mean 0 and unbiased deviation 1.

    Source: Qiao et al. 2019, Weight Standardization, eq. 4.
    """

    def forward(self, input: Float[Tensor, "b c h w"]) -> Tensor:
        """Convolve with the standardised filters."""
        return self._conv_forward(input, self.standardised(), None)

    def standardised(self) -> Tensor:
        """The filters that are convolved with; a filter of one element has no deviation and is left as it is."""
        weight = self.weight
        if weight[0].numel() == 1:
            return weight
        flat = weight.reshape(len(weight), -1)
        flat = flat - flat.mean(dim=1, keepdim=True)
        # The deviation of what has mean 0 is its norm, which takes a third of the time of std.
        deviation = torch.linalg.vector_norm(flat, dim=1, keepdim=True) / math.sqrt(flat.shape[1] - 1)
        return (flat / (deviation + 1e-5)).reshape(weight.shape)


def block(inputs: int, outputs: int, *, kernel: int = 3, rate: int = 1) -> nn.Sequential:
    """BN, ReLU and a weight-standardised convolution."""
    padding = rate * (kernel - 1) // 2
    return nn.Sequential(
        nn.BatchNorm2d(inputs, eps=1e-3),
        nn.ReLU(),
        WSConv2d(inputs, outputs, kernel, padding=padding, dilation=rate, bias=False),
    )


def head(width: int, *, smallest: int) -> nn.Sequential:
    """Blocks that halve their channels down to ``smallest``, then one channel.

    Standardised filters sum ``9 * width`` terms of deviation 1, which would start every sigmoid and tanh saturated: the
    last BN starts with the gain that undoes it.
    """
    layers = []
    while width > smallest:
        layers.append(block(width, width // 2))
        width //= 2
    last = block(width, 1)
    with torch.no_grad():
        next(last[0].parameters()).mul_((9 * width) ** -0.5)
    return nn.Sequential(*layers, last)


class Context(nn.Module):
    """Dilated branches of half the ``width``, each reading the reduced input and all before it, and their join."""

    def __init__(self, inputs: int, width: int, outputs: int, *, rates: Sequence[int]) -> None:
        super().__init__()
        half = width // 2
        self.reduce = block(inputs, width)
        self.branches = nn.ModuleList(
            nn.Sequential(block(width + half * index, half, kernel=1), block(half, half, rate=rate))
            for index, rate in enumerate(rates)
        )
        self.join = block(width + half * len(rates), outputs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Tensor:
        """Features with a wide view."""
        x = self.reduce(x)
        for branch in self.branches:
            x = torch.cat([x, branch(x)], dim=1)
        return self.join(x)


class Level(nn.Module):
    """One level of the depth pyramid: features of the level above, a skip, and the residuals give a residual.

    ``skip`` is 0 channels at the level of the image; upsampling comes ``before`` or ``after`` the first convolution.
    """

    def __init__(self, inputs: int, skip: int, width: int, *, interpolate: str) -> None:
        super().__init__()
        self.before = interpolate == "before"
        self.up = block(inputs, width if skip else width - 4)
        self.squeeze = block(width + skip, width - 4, kernel=1) if skip else nn.Identity()
        self.merge = block(width, width)
        self.head = head(width, smallest=64 if skip else width // 2)

    def forward(
        self, x: Tensor, skip: Tensor | None, coarser: Float[Tensor, "b 1 h w"], edges: Float[Tensor, "b 3 H W"]
    ) -> tuple[Tensor, Float[Tensor, "b 1 H W"]]:
        """Features and depth residual, from those above, the encoder's map and the image's Laplacian residual."""
        x = self.up(upsample_to(x, edges)) if self.before else upsample_to(self.up(x), edges)
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        above = upsample_to(coarser, edges).to(edges.dtype)
        x = self.merge(torch.cat([self.squeeze(x), above, edges], dim=1))
        guided = self.head(x).float() + IMAGE_GAIN * edges.mean(dim=1, keepdim=True)
        return x, torch.tanh(guided)


class LDRN(nn.Module):
    """Image to metres by a Laplacian pyramid of depth residuals.

    Args:
        max_depth: Metres; depth lies strictly below.
        adaptor: Channels that the deepest map is brought to.
        context: Channels between the adaptor and the dilated branches.
        widths: Channels at strides 32, 16, 8, 4 and 2; stride 1 has those of stride 2; more
            than 4 each, since 4 are residuals.
        rates: Dilations of the branches at stride 32.
        interpolate: ``before`` the first convolution of a level as in the published study, or ``after`` it, which needs
            30 % fewer multiply-adds.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        max_depth: float = 10.0,
        adaptor: int = 1024,
        context: int = 256,
        widths: Sequence[int] = (512, 256, 128, 64, 32),
        rates: Sequence[int] = (3, 6, 12, 18),
        interpolate: str = "before",
    ) -> None:
        super().__init__()
        if interpolate not in ("before", "after"):
            raise ValueError(f"LDRN: interpolate is {interpolate!r}, expected 'before' or 'after'")
        if min(widths) <= 4:
            raise ValueError(f"LDRN: widths are {list(widths)}, expected more than 4 channels each, 4 are residuals")
        self.max_depth = max_depth
        self.encoder = encoder
        *skips, deepest = encoder.channels
        self.adaptor = nn.Conv2d(deepest, adaptor, 1)
        self.context = Context(adaptor, context, widths[0], rates=rates)
        self.coarse = head(widths[0], smallest=32)
        self.levels = nn.ModuleList(
            Level(above, skip, width, interpolate=interpolate)
            for above, skip, width in zip(widths, [*reversed(skips), 0], [*widths[1:], widths[-1]], strict=True)
        )
        nn.init.kaiming_normal_(self.adaptor.weight, nonlinearity="linear")

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> DepthPrediction:
        """Depth at the image's size."""
        return self.with_maps(image)[0]

    def with_maps(self, image: Float[Tensor, "b 3 h w"]) -> tuple[DepthPrediction, MapsByStride]:
        """Depth at the image's size, and the features that its residuals are made of."""
        *skips, deepest = self.encoder(image)
        maps = [image, *skips, deepest]
        edges, _ = laplacian_pyramid(image, [single.shape[-2:] for single in maps[1:]])
        x = self.context(self.adaptor(deepest))
        residuals, features = [torch.sigmoid(self.coarse(x).float())], {}
        given = zip((16, 8, 4, 2, 1), self.levels, [*reversed(skips), None], reversed(edges), strict=True)
        for stride, level, skip, edge in given:
            x, residual = level(x, skip, residuals[-1], edge)
            residuals.append(residual)
            features[stride] = x
        return DepthPrediction(self.max_depth * torch.sigmoid(restore(residuals))), features


def laplacian_pyramid(image: Float[Tensor, "b c h w"], sizes: Sequence[tuple[int, int]]) -> tuple[list[Tensor], Tensor]:
    """What each size of an image holds that the next coarser one does not, finest first, and the coarsest image.

    ``sizes`` are heights and widths of the coarser ones.

    Source: Burt and Adelson 1983; bilinear interpolation in place of their kernel.
    """
    residuals = []
    for size in sizes:
        coarser = F.interpolate(image, size=tuple(size), mode="bilinear", align_corners=False)
        residuals.append(image - upsample_to(coarser, image))
        image = coarser
    return residuals, image


def restore(residuals: Sequence[Float[Tensor, "b c _h _w"]]) -> Float[Tensor, "b c h w"]:
    """Sum of a pyramid, coarsest first, each size upsampled to the next.

    Source: Song et al. 2021, eq. 3.
    """
    total = residuals[0]
    for residual in residuals[1:]:
        total = residual + upsample_to(total, residual)
    return total


def ldrn_loss(
    prediction: DepthPrediction,
    target: DepthTarget,
    valid: ValidMask,
    *,
    mean_weight: float = 0.85,
    scale: float = 10.0,
    gradient_weight: float = 0.0,
) -> Mapping[str, Tensor]:
    """Scale-invariant log error and, where asked for, the error of depth edges.

    ``gradient_weight`` is the factor of the Sobel gradient error; 0.1 in the original, for depth without holes.

    Raises:
        ValueError: No pixel is valid.

    Source: Song et al. 2021, eq. 6 to 8.
    """
    depth = resize_like(prediction.depth, target)
    terms = {"silog": scale_invariant_log_loss(depth, target, valid, mean_weight=mean_weight, scale=scale)}
    if gradient_weight > 0:
        terms["gradient"] = gradient_weight * sobel_gradient_loss(depth, target, valid)
    return terms
