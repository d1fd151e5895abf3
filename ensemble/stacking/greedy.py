"""Which members make the best mean in logs for a budget: greedy selection with replacement.

A mean in logs errs by the mean of its members' log errors, so the squared error of every set is a quadratic form of one
matrix, the mean products of log errors of any two candidates. Whatever the number of pixels, a set is judged by a few
multiplications.

Source: Caruana et al. 2004, "Ensemble selection from libraries of models". Deviations: a budget holds the distinct
members together, the search begins at every candidate that the budget allows (a costly first choice would use it up),
and a set is never worse than a rival that the budget allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from jaxtyping import Float64

MOST_PICKS = 20
"""Members of a set, counted as often as they were chosen."""

GAIN = 1e-9
"""Share of the error below which a change is rounding."""

Products = Float64[np.ndarray, "k k"]
"""Mean products of the log errors of every two candidates."""

Counts = tuple[int, ...]
"""How often every candidate is in a set."""


@dataclass(frozen=True)
class Limits:
    """What a set may cost; a candidate that is in it several times costs once."""

    costs: Sequence[float]  # of every candidate, not negative
    most: float  # of a set

    def cost(self, counts: Counts) -> float:
        """Of the distinct members."""
        return sum(cost for cost, count in zip(self.costs, counts, strict=True) if count)

    def allows(self, counts: Counts) -> bool:
        """Whether a set is within the budget."""
        return self.cost(counts) <= self.most


def squared_error(products: Products, counts: Counts) -> float:
    """Mean squared log error of the mean in logs of a set."""
    shares = np.array(counts) / sum(counts)
    return float(shares @ products @ shares)


def best_set(products: Products, limits: Limits, rivals: Sequence[Counts] = ()) -> Counts | None:
    """The set with the lowest squared log error that was found; ``None`` where no candidate is within the budget."""
    alone = [_alone(index, len(products)) for index in range(len(products))]
    found = [_grown(products, limits, each) for each in alone if limits.allows(each)]
    found += [rival for rival in rivals if limits.allows(rival)]
    best: Counts | None = None
    for counts in sorted(found, key=limits.cost):  # of equal ones the cheapest
        if best is None or squared_error(products, counts) < (1 - GAIN) * squared_error(products, best):
            best = counts
    return None if best is None else reduced(best)


def reduced(counts: Counts) -> Counts:
    """The same mean with as few copies as there can be."""
    shared = gcd(*counts)
    return tuple(count // shared for count in counts)


def _alone(index: int, candidates: int) -> Counts:
    return tuple(int(each == index) for each in range(candidates))


def _grown(products: Products, limits: Limits, start: Counts) -> Counts:
    """The best set on the way from a start, adding again and again the candidate that leaves the lowest error."""
    counts = np.array(start)
    costs, diagonal = np.array(limits.costs), np.diag(products)
    best, lowest = counts.copy(), squared_error(products, start)
    while counts.sum() < MOST_PICKS:
        spent = costs[counts > 0].sum()
        allowed = (counts > 0) | (spent + costs <= limits.most)
        size = counts.sum()
        errors = (counts @ products @ counts + 2 * (products @ counts) + diagonal) / (size + 1) ** 2
        chosen = int(np.where(allowed, errors, np.inf).argmin())
        counts[chosen] += 1
        if errors[chosen] < (1 - GAIN) * lowest:
            best, lowest = counts.copy(), float(errors[chosen])
    return tuple(best.tolist())
