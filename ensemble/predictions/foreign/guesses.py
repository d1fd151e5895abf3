"""What depth maps might be that do not fit the truth as read: of another unit, turned over, scaled one by one."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from ensemble.settings.units import PER_METRE

Pixels = Float64[np.ndarray, " n"]

SAME_FACTOR = 1.12
"""How far a factor may be from that of a known unit: the two nearest, 200 and 256, are 1.28 apart."""

TURNED = ("mirrored left to right", "upside down", "turned by half a circle")
CLEARLY, LARGE = 0.6, 0.05
"""Share of the scatter that a guess may leave, and the scatter (of log depth) below which nothing is wrong."""

ONE_BY_ONE = 0.15
"""Share of the squared error that is left by a scale and a shift for every map; those of networks keep more."""


class Sample(NamedTuple):
    """Valid pixels of one frame of training.

    Attributes:
        depths: As read.
        truth: Metres.
        turned: As read at the same places of the map turned over, by ``TURNED``.
    """

    depths: Pixels
    truth: Pixels
    turned: Sequence[Pixels]


def likely_units(ratio: float, per_metre: float) -> list[str]:
    """Known units that explain why the truth is ``ratio`` times the depth that was read with so many a metre."""
    units = {name: abs(math.log(ratio * known / per_metre)) for name, known in PER_METRE.items()}
    return sorted((name for name, off in units.items() if off < math.log(SAME_FACTOR)), key=units.__getitem__)


def turned_over(samples: Sequence[Sample]) -> str | None:
    """How maps lie if not as the images do; ``None`` where they do, or where nothing fits better."""
    truth = [sample.truth for sample in samples]
    as_read = _scatter([sample.depths for sample in samples], truth)
    turned: Mapping[str, float] = {
        name: _scatter([sample.turned[index] for sample in samples], truth) for index, name in enumerate(TURNED)
    }
    best = min(turned, key=turned.__getitem__)
    inverse = _scatter([1 / sample.depths.clip(1e-9) for sample in samples], truth)
    return best if as_read > LARGE and turned[best] < CLEARLY * min(as_read, inverse or as_read) else None


def scaled_one_by_one(samples: Sequence[Sample], scale: float, shift: float) -> bool:
    """Whether maps fit much better with a scale and a shift for each than with one for all, as normalised ones do."""
    together, apart = 0.0, 0.0
    for sample in samples:
        together += float(np.square(scale * sample.depths + shift - sample.truth).sum())
        columns = np.stack([sample.depths, np.ones_like(sample.depths)], axis=1)
        own = columns @ np.linalg.lstsq(columns, sample.truth)[0]
        apart += float(np.square(own - sample.truth).sum())
    spread = sum(float(np.square(sample.truth - sample.truth.mean()).sum()) for sample in samples)
    return len(samples) > 1 and apart < ONE_BY_ONE * together and apart < CLEARLY**2 * spread


def _scatter(depths: Sequence[Pixels], truth: Sequence[Pixels]) -> float:
    """Mean distance of log ratios from the median of their frame, over frames whose depth is positive."""
    found = []
    for own, true in zip(depths, truth, strict=True):
        if len(own) and (own > 0).all():
            ratios = np.log(own / true)
            found.append(float(np.abs(ratios - np.median(ratios)).mean()))
    return float(np.mean(found)) if found else 0.0
