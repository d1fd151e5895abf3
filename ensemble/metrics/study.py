"""The learners as the published study had them, to stand beside ours; without torch, because reports print them.

Source: the study that this package rebuilds (GhostNet learners, 24,231 training and 654 test images of NYU Depth v2).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ensemble.metrics.formulas import TABLE_METRICS


@dataclass(frozen=True)
class Published:
    """A network of the study.

    Attributes:
        parameters: Trainable parameters of the rebuilt network; the study printed 17.2M for AdaBins.
        mul_adds: Multiply-adds of one 416x544 image.
        frames_per_second: On a GTX 1080 Ti; ``None`` of a meta-learner, of which only the whole stack was timed.
        scores: Metric of ``TABLE_METRICS`` -> value; empty of a meta-learner.
    """

    parameters: int
    mul_adds: float
    frames_per_second: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


def _published(parameters: int, mul_adds: float, frames_per_second: float, *scores: float) -> Published:
    return Published(parameters, mul_adds, frames_per_second, dict(zip(TABLE_METRICS, scores, strict=True)))


STUDIED: Mapping[str, Published] = {
    "adabins": _published(17_553_668, 9.57e9, 15.94, 0.8106, 0.9641, 0.9919, 0.1463, 0.0875, 0.5019, 0.1788, 0.0604),
    "ldrn": _published(14_892_724, 14.83e9, 18.76, 0.8306, 0.9661, 0.9925, 0.1320, 0.0875, 0.4561, 0.1675, 0.0564),
    "bts": _published(8_900_728, 12.07e9, 9.57, 0.8567, 0.9724, 0.9932, 0.1202, 0.0749, 0.4326, 0.1558, 0.0521),
}
"""By key in ``LEARNERS``, in the study's order; a learner that it did not have is absent."""

TITLES: Mapping[str, str] = {"adabins": "AdaBins", "ldrn": "LDRN", "bts": "BTS"}
