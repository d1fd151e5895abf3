"""The learning rate as a function of step or time: the one cycle of training, and the climb of the range test."""

import math


def one_cycle(
    step: int, steps: int, *, warmup_fraction: float = 0.3, start_divisor: float = 25.0, end_divisor: float = 100.0
) -> float:
    """Learning rate of a step as a multiple of the largest one.

    The first step runs at ``1 / start_divisor``, the last one at ``1 / end_divisor``.

    Args:
        step: Number of optimiser steps already taken.
        steps: Length of the cycle in optimiser steps.
        warmup_fraction: Share of the cycle in which the rate climbs.
        start_divisor: Largest rate over first rate.
        end_divisor: Largest rate over last rate.

    Raises:
        ValueError: The cycle has no steps.
    """
    if steps < 1:
        raise ValueError(f"a cycle needs at least one step, found {steps}")
    return cycle(step, steps - 1, warmup_fraction=warmup_fraction, start_divisor=start_divisor, end_divisor=end_divisor)


def cycle(
    position: float,
    length: float,
    *,
    warmup_fraction: float = 0.3,
    start_divisor: float = 25.0,
    end_divisor: float = 100.0,
) -> float:
    """Learning rate as a multiple of the largest one: up in a straight line, down along a half cosine.

    PyTorch's ``OneCycleLR`` differs: it warms up along a cosine and ends at ``1 / (start_divisor * final_div_factor)``.

    Args:
        position: How far the cycle has come, in the unit of its length.
        length: Of the cycle, in any unit; behind it, the last rate stays.
        warmup_fraction: Share of the cycle in which the rate climbs.
        start_divisor: Largest rate over first rate.
        end_divisor: Largest rate over last rate.

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
    """Learning rate of a step of the range test: by the same factor from step to step.

    Args:
        step: Number of optimiser steps already taken.
        steps: Length of the test in optimiser steps, at least two.
        lowest: Rate of the first step.
        highest: Rate of the last step.

    Source: Smith 2017, section 3.3, with factors in place of differences.
    """
    return lowest * (highest / lowest) ** (step / (steps - 1))
