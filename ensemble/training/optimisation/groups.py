"""Which parameters learn at which rate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a largest learning rate, which the log calls ``lr/<name>``; frozen ones are left out."""

    name: str
    parameters: tuple[nn.Parameter, ...]
    lr: float


Groups = Callable[[nn.Module], Sequence[ParameterGroup]]
"""Divides the parameters of a network; the range test reads the rate of the last group."""


def encoder_and_decoder(
    network: nn.Module, *, lr: float, encoder_lr_factor: float = 1.0, prefix: str = ""
) -> tuple[ParameterGroup, ParameterGroup]:
    """The ``encoder`` of a network at its factor of ``lr``, everything else at ``lr``; names begin with ``prefix``."""
    encoder = tuple(network.get_submodule("encoder").parameters())
    known = {id(parameter) for parameter in encoder}
    rest = tuple(parameter for parameter in network.parameters() if id(parameter) not in known)
    return (
        ParameterGroup(f"{prefix}encoder", encoder, lr * encoder_lr_factor),
        ParameterGroup(f"{prefix}decoder", rest, lr),
    )


def trainable_groups(network: nn.Module, groups: Sequence[ParameterGroup]) -> list[ParameterGroup]:
    """The groups without frozen parameters, and without groups that have no others.

    Raises:
        ValueError: A parameter that is to be trained stands in no group or in several, two groups share a name, or
            there is nothing to train.
    """
    kept = [
        ParameterGroup(group.name, parameters, group.lr)
        for group in groups
        if (parameters := tuple(parameter for parameter in group.parameters if parameter.requires_grad))
    ]
    names = [group.name for group in kept]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"parameter groups: the names {', '.join(doubled)} stand twice, expected one group of a name")
    found = [id(parameter) for group in kept for parameter in group.parameters]
    wanted = {name: id(parameter) for name, parameter in network.named_parameters() if parameter.requires_grad}
    misplaced = [f"{name} in {count}" for name, key in wanted.items() if (count := found.count(key)) != 1]
    if misplaced or not wanted:
        first = f" (first: {misplaced[0]})" if misplaced else ""
        raise ValueError(
            f"parameter groups: {len(misplaced)} of {len(wanted)} parameters to be trained are not in exactly one "
            f"group{first}; expected every one in one group, and at least one"
        )
    return kept


def lay_out_state(optimizer: torch.optim.Optimizer) -> None:
    """Give every moment the strides of its parameter: fused AdamW walks both in the order of memory (torch 2.15)."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if torch.is_tensor(value) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter).copy_(value)
