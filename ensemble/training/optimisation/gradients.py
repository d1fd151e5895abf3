"""How strongly each part of a network is pulled, and clipping that holds every part by itself."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, get_total_norm

Clip = Literal["whole", "parts"]
"""One norm over all parameters, or one for each part, so that a part with large gradients slows down no other."""


def gradient_norms(parts: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Euclidean norm of the gradient of every part that has one; the values stay on their device."""
    norms = {}
    for name, part in parts.items():
        gradients = [parameter.grad for parameter in part.parameters() if parameter.grad is not None]
        if gradients:
            norms[name] = get_total_norm(gradients)
    return norms


def clip_parts(network: nn.Module, parts: Mapping[str, nn.Module], max_norm: float) -> None:
    """Scale down the gradient of every part to a norm, and that of all parameters in no part together."""
    divided = [list(part.parameters()) for part in parts.values()]
    known = {id(parameter) for part in divided for parameter in part}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in known]
    for parameters in (*divided, rest):
        if any(parameter.grad is not None for parameter in parameters):
            clip_grad_norm_(parameters, max_norm)


def check_parts(parts: Mapping[str, nn.Module], clip: Clip) -> None:
    """Refuse parts that cannot be clipped one by one: none at all, or two that share a parameter."""
    if clip == "whole":
        return
    keys = [id(parameter) for part in parts.values() for parameter in part.parameters()]
    if not parts or len(keys) != len(set(keys)):
        shared = len(keys) - len(set(keys))
        raise ValueError(
            f"clip parts: found {len(parts)} parts that share {shared} parameters, expected at least one, and parts "
            "without common parameters; clip the whole instead"
        )
