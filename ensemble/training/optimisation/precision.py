"""Layers that mixed precision on a CPU leaves in float32, because 16 bits are slower there."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn


def keep_slow_depthwise_in_float32(network: nn.Module) -> None:
    """Compute depthwise convolutions in float32 under a CPU's autocast, but for those of 3x3 without a stride.

    oneDNN has a fast backward pass in bfloat16 for the latter alone. At batch 8, one core (AVX-512 with bfloat16) takes
    20 ms for 96 channels of 48x64 with stride 2, and 3 ms in float32; likewise for 5x5. Weights and their names stay
    as they are.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and _is_slow(layer):
            layer.forward = partial(_in_float32, layer.forward)


def _is_slow(layer: nn.Conv2d) -> bool:
    return layer.groups == layer.in_channels > 1 and (max(layer.stride) > 1 or max(layer.kernel_size) > 3)


def _in_float32(forward: Callable[[Tensor], Tensor], input: Tensor) -> Tensor:
    with torch.autocast(input.device.type, enabled=False):
        return forward(input.float())
