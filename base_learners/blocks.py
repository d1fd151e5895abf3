"""Layers that two or more learners use."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

Activation = Callable[[], nn.Module]


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which mixed precision is off for the tensor's device."""
    device = tensor.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


class SeparableConv(nn.Sequential):
    """Depthwise 3x3, BN, ``first`` activation, pointwise 1x1, and BN and ``second`` activation where asked for."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        first: Activation = nn.ReLU,
        second: Activation | None = None,
        norm: bool = True,
    ) -> None:
        super().__init__(
            nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            first(),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            *([nn.BatchNorm2d(outputs)] if norm else []),
            *([second()] if second is not None else []),
        )


class ResidualUnit(nn.Module):
    """ReLU and 3x3 convolution, twice, added to what came in; no norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """A map of the same shape."""
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


def upsample_to(x: Float[Tensor, "b c h w"], like: Tensor, *, mode: str = "bilinear") -> Float[Tensor, "b c H W"]:
    """Bring a map to the height and width of another."""
    size = like.shape[-2:]
    # Sizes that an export leaves open are no numbers yet: asking whether they are equal would fix them.
    if not any(isinstance(side, torch.SymInt) for side in (*x.shape[-2:], *size)) and x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode=mode, align_corners=False if mode == "bilinear" else None)


def start_indoors(norm: nn.Module) -> None:
    """Start the BN before a sigmoid, which alone moves the mean depth, at a quarter of the largest depth."""
    gain, shift = norm.parameters()
    nn.init.constant_(gain, 0.5)
    nn.init.constant_(shift, -math.log(3))


def initialise(module: nn.Module) -> None:
    """Draw every dense convolution of a decoder from He's normal distribution over its inputs; biases start at zero.

    Source: He et al. 2015, Delving Deep into Rectifiers, eq. 10.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
