"""BTS: a decoder that guides every size with local planes, from coarse to fine.

Source: Lee et al. 2019, From Big to Small, sections 3.2 and 3.3; the widths are those of the published GhostNet study.
Deviations: planes seen edge-on, whose depth would be negative, are held at ``SMALLEST_COSINE``; the last BN starts at
indoor depths.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from base_learners.blocks import Activation, SeparableConv, full_precision, initialise, start_indoors, upsample_to
from base_learners.contract import DepthPrediction, DepthTarget, MapsByStride, ValidMask
from base_learners.encoders.pyramid import Encoder
from base_learners.losses import resize_like, scale_invariant_log_loss

SMALLEST_COSINE = 0.04
"""Just below what 4x4 cells can reach; only the corners of 8x8 cells fall below it."""

ACTIVATIONS: Mapping[str, Activation] = {"elu": nn.ELU, "leaky_relu": nn.LeakyReLU}
"""After convolutions: ELU as published, or LeakyReLU, which processors compute faster."""


def separable(inputs: int, outputs: int, activation: Activation) -> SeparableConv:
    """A separable convolution with ReLU between its halves and an activation after them."""
    return SeparableConv(inputs, outputs, first=nn.ReLU, second=activation)


class Upscale(nn.Module):
    """A separable convolution, nearest upsampling to a given map, and BN where asked for (``norm``)."""

    def __init__(self, inputs: int, outputs: int, activation: Activation, *, norm: bool = True) -> None:
        super().__init__()
        self.conv = separable(inputs, outputs, activation)
        self.norm = nn.BatchNorm2d(outputs) if norm else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"], like: Tensor) -> Tensor:
        """The map at the size of ``like``."""
        return self.norm(upsample_to(self.conv(x), like, mode="nearest"))


class DilatedBranch(nn.Sequential):
    """One rate of the dense pyramid: BN (``norm``), 1x1 to ``hidden`` channels, then a dense 3x3 with that dilation."""

    def __init__(self, inputs: int, hidden: int, outputs: int, *, rate: int, norm: bool) -> None:
        super().__init__(
            nn.BatchNorm2d(inputs) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(inputs, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, outputs, 3, padding=rate, dilation=rate, bias=False),
        )


def reduction(inputs: int, first: int, outputs: int, activation: Activation = nn.ELU) -> nn.Sequential:
    """1x1 convolutions that halve their channels from ``first`` to 8, activated between, then ``outputs`` channels."""
    layers: list[nn.Module] = []
    while first >= 8:
        layers += [nn.Conv2d(inputs, first, 1, bias=False), activation()]
        inputs, first = first, first // 2
    return nn.Sequential(*layers, nn.Conv2d(inputs, outputs, 1, bias=False))


class BTS(nn.Module):
    """Image to metres by local planar guidance.

    Args:
        max_depth: Metres; the largest depth.
        min_depth: Metres; the smallest depth.
        adaptor: Channels that the deepest map is brought to.
        widths: Channels of the decoder at strides 16, 8, 4, 2 and 1.
        rates: Dilations of the dense pyramid at stride 8.
        activation: ``elu`` as published, or ``leaky_relu``, which takes 6 % less time on a processor.

    Raises:
        ValueError: There is no such ``activation``.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        max_depth: float = 10.0,
        min_depth: float = 1e-3,
        adaptor: int = 2208,
        widths: Sequence[int] = (512, 256, 128, 64, 32),
        rates: Sequence[int] = (3, 6, 12, 18, 24),
        activation: str = "elu",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"BTS: activation is {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
        act = ACTIVATIONS[activation]
        self.min_depth, self.max_depth = min_depth, max_depth
        self.encoder = encoder
        skip2, skip4, skip8, skip16, deepest = encoder.channels
        w16, w8, w4, w2, w1 = widths
        self.adaptor = nn.Sequential(nn.Conv2d(deepest, adaptor, 1), nn.ReLU())
        self.up16, self.join16 = Upscale(adaptor, w16, act), separable(w16 + skip16, w16, act)
        self.up8 = Upscale(w16, w8, act)
        self.join8 = nn.Sequential(separable(w8 + skip8, w8, act), nn.BatchNorm2d(w8))
        grown = [w8, *(w8 + skip8 + w4 * index for index in range(1, len(rates)))]
        self.pyramid = nn.ModuleList(
            DilatedBranch(inputs, w8, w4, rate=rate, norm=index > 0)
            for index, (inputs, rate) in enumerate(zip(grown, rates, strict=True))
        )
        self.join_pyramid = separable(w8 + w4 * len(rates), w4, act)
        self.plane8 = reduction(w4, w4, 3, act)
        self.up4, self.join4 = Upscale(w4, w4, act), separable(w4 + skip4 + 1, w4, act)
        self.plane4 = reduction(w4, w4 // 2, 3, act)
        self.up2, self.join2 = Upscale(w4, w2, act), separable(w2 + skip2 + 1, w2, act)
        self.plane2 = reduction(w2, w2 // 2, 3, act)
        self.up1, self.direct = Upscale(w2, w1, act, norm=False), reduction(w1, w1 // 2, 1, act)
        self.join1, self.last = separable(w1 + 4, w1, act), SeparableConv(w1, 1)
        for part in self.children():
            if part is not encoder:
                initialise(part)
        start_indoors(self.last[-1])

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> DepthPrediction:
        """Depth at the image's size."""
        return self.with_maps(image)[0]

    def with_maps(self, image: Float[Tensor, "b 3 h w"]) -> tuple[DepthPrediction, MapsByStride]:
        """Depth at the image's size, and the maps that planes are read from, with that at stride 16."""
        skip2, skip4, skip8, skip16, x = self.encoder(image)
        x = self.up16(self.adaptor(x), skip16)
        map16 = self.join16(torch.cat([x, skip16], dim=1))
        map8 = x = self._dense_pyramid(self.up8(map16, skip8), skip8)
        guide8 = self._guide(self.plane8(x), 8, image)
        x = self.up4(x, skip4)
        map4 = x = self.join4(torch.cat([x, skip4, thinned(guide8, 4, skip4)], dim=1))
        guide4 = self._guide(self.plane4(x), 4, image)
        x = self.up2(x, skip2)
        map2 = x = self.join2(torch.cat([x, skip2, thinned(guide4, 2, skip2)], dim=1))
        guide2 = self._guide(self.plane2(x), 2, image)
        x = self.up1(x, image)
        x = self.join1(torch.cat([x, torch.sigmoid(self.direct(x)), guide2, guide4, guide8], dim=1))
        depth = self.max_depth * torch.sigmoid(self.last(x).float())
        return DepthPrediction(depth.clamp(min=self.min_depth)), {16: map16, 8: map8, 4: map4, 2: map2}

    def _dense_pyramid(self, x: Tensor, skip: Tensor) -> Tensor:
        joined = torch.cat([x, skip], dim=1)
        x = self.join8(joined)
        branches = [self.pyramid[0](x)]
        for branch in list(self.pyramid)[1:]:
            branches.append(branch(torch.cat([joined, *branches], dim=1)))
        return self.join_pyramid(torch.cat([x, *branches], dim=1))

    def _guide(self, coefficients: Tensor, cell: int, image: Tensor) -> Tensor:
        """Depth of the planes over ``max_depth``, at the image's size."""
        with full_precision(image):
            guide = local_planar_guidance(coefficients.float(), cell=cell).to(image.dtype)
        height, width = image.shape[-2:]
        if guide.shape[-2] < height or guide.shape[-1] < width:
            return upsample_to(guide, image, mode="nearest")
        return guide[..., :height, :width]


def thinned(guide: Float[Tensor, "b 1 H W"], stride: int, like: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    """Every so many-th row and column of a guide, at the size of the encoder's map of that stride."""
    return upsample_to(guide[..., ::stride, ::stride], like, mode="nearest")


def local_planar_guidance(coefficients: Float[Tensor, "b 3 h w"], *, cell: int) -> Float[Tensor, "b 1 H W"]:
    """Depth of a plane in every cell, as a share of the largest depth.

    Args:
        coefficients: Polar angle (up to 60 degrees), azimuth and distance of each plane, before their sigmoids.
        cell: Height and width of a cell, in pixels.

    Source: Lee et al. 2019, eq. 1 and 2.
    """
    polar, azimuth, distance = torch.sigmoid(coefficients).unbind(dim=1)
    polar, azimuth = polar * (math.pi / 3), azimuth * (2 * math.pi)
    normal = torch.stack([polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()], dim=1)
    return plane_depth(normal, distance[:, None], cell=cell)


def plane_depth(
    normal: Float[Tensor, "b 3 h w"], distance: Float[Tensor, "b 1 h w"], *, cell: int
) -> Float[Tensor, "b 1 H W"]:
    """Depth, in the unit of ``distance`` from the camera, at every pixel of cells that each hold one plane.

    Normals have length 1; a cell is so many pixels high and wide.

    Source: Lee et al. 2019, eq. 2.
    """
    height, width = normal.shape[-2:]
    offset = (torch.arange(cell, device=normal.device, dtype=normal.dtype) - (cell - 1) / 2) / cell
    planes = F.interpolate(torch.cat([normal, distance], dim=1), scale_factor=cell, mode="nearest")
    n1, n2, n3, distance = planes.split(1, dim=1)
    cosine = n1 * offset.repeat(width) + n2 * offset.repeat(height)[:, None] + n3
    return distance / cosine.clamp(min=SMALLEST_COSINE)


def bts_loss(
    prediction: DepthPrediction,
    target: DepthTarget,
    valid: ValidMask,
    *,
    mean_weight: float = 0.85,
    scale: float = 10.0,
) -> Mapping[str, Tensor]:
    """Scale-invariant log error; ``mean_weight`` and ``scale`` are its arguments.

    Raises:
        ValueError: No pixel is valid.

    Source: Lee et al. 2019, eq. 4.
    """
    depth = resize_like(prediction.depth, target)
    return {"silog": scale_invariant_log_loss(depth, target, valid, mean_weight=mean_weight, scale=scale)}
