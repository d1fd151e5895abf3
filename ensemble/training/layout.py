"""How a network lies in memory, and with which kernels it is computed: what it says changes by rounding alone."""

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)

_ONEDNN = 2
"""Dilation of a convolution of one pixel, where it moves nothing, that has torch compute it with oneDNN."""


def ready_for(network: Network, device: torch.device | str) -> Network:
    """The network on a device, as it predicts fastest there: on a processor with the channels of a pixel together."""
    processor = torch.device(device).type == "cpu"
    network.to(device).to(memory_format=torch.channels_last if processor else torch.contiguous_format)
    return with_fast_points(network, processor=processor)


def with_fast_points(network: Network, *, processor: bool) -> Network:
    """The network whose convolutions of one pixel are computed by oneDNN on a processor, by any number of threads.

    With one thread, and fewer than 16 images, torch (2.15) computes those that are neither strided nor dilated as
    products of MKL, which took two to three times as long where it was measured; what that makes of whole networks,
    docs/benchmarks.md says (*Networks*).
    """
    _dilate_points(network, _ONEDNN if processor else 1)
    return network


def as_built(network: Network) -> Network:
    """The network as its class builds it, to be written down for others."""
    network.to(memory_format=torch.contiguous_format)
    _dilate_points(network, 1)
    return network


def _dilate_points(network: nn.Module, dilation: int) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == layer.stride == (1, 1):
            layer.dilation = (dilation, dilation)
