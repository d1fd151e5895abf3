"""Base learners: networks from image to metres, each with its loss; a learner is a file and a line in ``LEARNERS``."""

from functools import partial

from base_learners.adabins import AdaBins, adabins_loss
from base_learners.bts import BTS, bts_loss
from base_learners.contract import BaseLearner
from base_learners.dpt import DPT, dpt_loss
from base_learners.encoders.pyramid import WITH_TRANSFORMER
from base_learners.fastdepth import FastDepth, fastdepth_loss
from base_learners.ffn import FFN, NEEDS
from base_learners.ldrn import LDRN, ldrn_loss

LEARNERS: dict[str, BaseLearner] = {
    learner.name: learner
    for learner in (
        BaseLearner("adabins", "AdaBins", AdaBins, adabins_loss),
        BaseLearner("bts", "BTS", BTS, bts_loss),
        BaseLearner("ldrn", "LDRN", LDRN, ldrn_loss),
        BaseLearner("fastdepth", "FastDepth", FastDepth, fastdepth_loss),
        BaseLearner("ffn", "FFN", FFN, fastdepth_loss, needs=NEEDS),
        BaseLearner("bts_fast", "BTS (fast)", partial(BTS, activation="leaky_relu"), bts_loss),
        BaseLearner("ldrn_fast", "LDRN (fast)", partial(LDRN, interpolate="after"), ldrn_loss),
        BaseLearner("dpt", "DPT", DPT, dpt_loss, needs=WITH_TRANSFORMER),
    )
}
"""Every base learner by the name used on the command line and in ``configs/base``."""

__all__ = ["LEARNERS", "BaseLearner"]
