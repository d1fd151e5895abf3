"""The learning rate as a function of step or time: the one cycle of training, and the climb of the range test."""

import math

SHAPE = {"warmup_fraction", "start_divisor", "end_divisor"}
"""Training settings that are arguments of ``cycle``."""


def one_cycle(step: int, steps: int, **shape: float) -> float:
    """``cycle`` over one or more optimiser steps: the first runs at its first rate, the last one at its last."""
    if steps < 1:
        raise ValueError(f"a cycle needs at least one step, found {steps}")
    return cycle(step, steps - 1, **shape)


def cycle(
    position: float,
    length: float,
    *,
    warmup_fraction: float = 0.3,
    start_divisor: float = 25.0,
    end_divisor: float = 100.0,
) -> float:
    """Learning rate as a multiple of the largest one: up in a straight line, down along a half cosine.

    It climbs from ``1 / start_divisor`` over a share of the cycle and falls to ``1 / end_divisor``, which stays behind
    its end; position and length are in any unit. PyTorch's ``OneCycleLR`` differs: it warms up along a cosine and ends
    at ``1 / (start_divisor * final_div_factor)``.

    Source: Smith and Topin 2019, section 3, with the divisors of the study.
    """
    peak = warmup_fraction * length
    if position < peak:
        start = 1 / start_divisor
        return start + (1 - start) * position / peak
    end = 1 / end_divisor
    progress = min(1.0, (position - peak) / (length - peak)) if length > peak else 0.0
    return end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2


def climb(step: int, steps: int, *, lowest: float, highest: float) -> float:
    """Learning rate of a step of the range test, of at least two: by the same factor from step to step.

    Source: Smith 2017, section 3.3, with factors in place of differences.
    """
    return lowest * (highest / lowest) ** (step / (steps - 1))
