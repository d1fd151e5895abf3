"""Structured pruning: channels that are gone, and with them their bytes, their products and their time."""

import copy
from typing import Any

import torch
from torch import nn

from base_learners.attention import Attention
from ensemble.data.formats.packages import needed
from ensemble.deploy.export.quiet import quiet

WHOLE = 8
"""Channels that are left are a multiple of it: runtimes compute in blocks, and odd numbers of channels are slower."""

HEAD_CHANNELS = 8
"""A convolution with at most so many channels says something by each of them; none of these is taken."""


def without_channels(network: nn.Module, image: torch.Tensor, share: float) -> nn.Module:
    """A copy of a learner's network, from which the weakest channels of every group of layers are gone.

    Args:
        network: From image to ``DepthPrediction``, prepared.
        image: Any that it takes, [1 3 h w].
        share: Of the channels of a group, from 0 to 1.

    Raises:
        ValueError: ``torch-pruning`` is missing, it cannot follow the network, or what is left does not run.

    Source: Fang et al. 2023, DepGraph, section 3; importance is the L1 norm of a group.
    """
    pruning: Any = needed("torch_pruning", extra="pruning", kind="taking channels away", where="report")
    smaller = copy.deepcopy(network).requires_grad_(True)
    before = sum(weight.numel() for weight in smaller.parameters())
    try:
        with quiet():
            pruner = pruning.pruner.BasePruner(
                smaller,
                image,
                importance=pruning.importance.GroupMagnitudeImportance(p=1),
                pruning_ratio=share,
                round_to=WHOLE,
                ignored_layers=[each for each in smaller.modules() if _stays(each)],
                forward_fn=lambda model, given: model(given).depth,
            )
            pruner.step()
        with torch.no_grad():
            depth = smaller(image).depth
    except Exception as error:  # whatever a network that it cannot follow makes of it
        raise ValueError(f"channels cannot be taken away ({type(error).__name__}: {_first_line(error)})") from error
    if depth.shape[-2:] != image.shape[-2:] or not bool(depth.isfinite().all()):
        raise ValueError("channels cannot be taken away (what is left gives no depth of the image's size)")
    if sum(weight.numel() for weight in smaller.parameters()) == before:
        raise ValueError("channels cannot be taken away (all of them depend on a head)")
    return smaller.requires_grad_(False).eval()


def _stays(layer: nn.Module) -> bool:
    """Whether a layer keeps its channels, and with it all that it shares them with.

    Heads of attention are runs of neighbouring channels, so fewer channels would be heads of others than were learnt.
    """
    if isinstance(layer, nn.Conv2d):
        return layer.out_channels <= HEAD_CHANNELS
    return isinstance(layer, nn.MultiheadAttention | Attention)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:120]
