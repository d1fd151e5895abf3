"""Stacks of a few steps that are as smooth as trained ones, for what rounding must not decide."""

from command_lines import Job

import ensemble
from base_learners.ldrn import LDRN
from ensemble.deploy.door import DepthStack
from ensemble.metrics.uncertainty import Calibration


def calm(name: str, job: Job) -> DepthStack:
    """A stack whose LDRN and calibration are as smooth as training makes them.

    After two steps heads say +1 or -1 at every pixel, and rounding decides which; and learners agree by chance, so that
    the expected error jumps.
    """
    stack = ensemble.load(name, device="cpu", cache_dir=job.cache)
    for network in stack.network.modules():
        if isinstance(network, LDRN):
            for head in (network.coarse, *(level.head for level in network.levels)):
                for weight in head[-1][0].parameters():
                    weight.data.mul_(0.02)
    smooth = Calibration((0.0, 2.0), (0.01, 4.0))
    stack.network.calibration = smooth
    stack.header = stack.header.model_copy(update={"calibration": smooth.to_plain()})
    return stack
