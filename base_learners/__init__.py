"""Base learners: networks from image to metres, each with its loss; a learner is a file and a line in ``LEARNERS``."""

from base_learners.adabins import AdaBins, adabins_loss
from base_learners.bts import BTS, bts_loss
from base_learners.contract import BaseLearner, Published
from base_learners.ldrn import LDRN, ldrn_loss

_SCORES = ("d1", "d2", "d3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10")


def _published(parameters: int, mul_adds: float, frames_per_second: float, *scores: float) -> Published:
    return Published(parameters, mul_adds, frames_per_second, dict(zip(_SCORES, scores, strict=True)))


LEARNERS: dict[str, BaseLearner] = {
    learner.name: learner
    for learner in (
        BaseLearner(
            "adabins",
            "AdaBins",
            AdaBins,
            adabins_loss,
            _published(17_553_668, 9.57e9, 15.94, 0.8106, 0.9641, 0.9919, 0.1463, 0.0875, 0.5019, 0.1788, 0.0604),
        ),
        BaseLearner(
            "bts",
            "BTS",
            BTS,
            bts_loss,
            _published(8_900_728, 12.07e9, 9.57, 0.8567, 0.9724, 0.9932, 0.1202, 0.0749, 0.4326, 0.1558, 0.0521),
        ),
        BaseLearner(
            "ldrn",
            "LDRN",
            LDRN,
            ldrn_loss,
            _published(14_892_724, 14.83e9, 18.76, 0.8306, 0.9661, 0.9925, 0.1320, 0.0875, 0.4561, 0.1675, 0.0564),
        ),
    )
}
"""Every base learner by the name used on the command line and in ``configs/base``."""

__all__ = ["LEARNERS", "BaseLearner"]
