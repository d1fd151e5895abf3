"""The learning rate as a function of the step: the one cycle of training, and the climb of the range test."""

import math


def one_cycle(
    step: int, steps: int, *, warmup_fraction: float = 0.3, start_divisor: float = 25.0, end_divisor: float = 100.0
) -> float:
    """Learning rate of a step as a multiple of the largest one: up in a straight line, down along a half cosine.

    The first step runs at ``1 / start_divisor``, the last one at ``1 / end_divisor``. PyTorch's ``OneCycleLR`` differs
    in both: it warms up along a cosine and ends at ``1 / (start_divisor * final_div_factor)``.

    Args:
        step: Number of optimiser steps already taken.
        steps: Length of the cycle in optimiser steps.
        warmup_fraction: Share of the cycle in which the rate climbs.
        start_divisor: Largest rate over first rate.
        end_divisor: Largest rate over last rate.

    Raises:
        ValueError: The cycle has no steps.

    Source: Smith and Topin 2019, section 3, with the divisors of the study.
    """
    if steps < 1:
        raise ValueError(f"a cycle needs at least one step, found {steps}")
    last = steps - 1
    peak = warmup_fraction * last
    if step < peak:
        start = 1 / start_divisor
        return start + (1 - start) * step / peak
    end = 1 / end_divisor
    progress = min(1.0, (step - peak) / (last - peak)) if last > peak else 0.0
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
