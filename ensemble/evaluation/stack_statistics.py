"""What a stack's weights and its uncertainty are like on frames of known depth."""

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ensemble.data.source import RawFrame
from ensemble.evaluation.calibration import calibrated_on, doubt
from ensemble.metrics.protocols import EvalProtocol, prepare
from ensemble.metrics.uncertainty import Calibration, Reliability, sparsification_curves
from ensemble.report.details import StackDetails
from ensemble.report.gathering import UncertaintyStatistics, WeightStatistics
from ensemble.stacking.stack import Stack


@dataclass
class StackStatistics:
    """Sums up what a stack's weights and uncertainty are like, frame by frame, at the size of the truth.

    Attributes:
        stack: The fit.
        calibration: Of its disagreement.
        titles: Of its learners.
        protocol: Which pixels count.
    """

    stack: Stack
    calibration: Calibration
    titles: tuple[str, ...]
    protocol: EvalProtocol
    weights: WeightStatistics = field(init=False)
    reliability: Reliability = field(init=False, default_factory=Reliability)
    ranking: UncertaintyStatistics = field(init=False, default_factory=UncertaintyStatistics)

    def __post_init__(self) -> None:
        self.weights = WeightStatistics(self.titles)

    def add(self, raw: RawFrame, maps: Tensor, depths: Tensor) -> None:
        """Add one frame.

        Args:
            raw: The truth.
            maps: Of the stack, [1 maps h w] at the working size.
            depths: Of its learners, [1 k h w] in metres.
        """
        size = raw.depth.shape
        parts = [self.stack.network.fuse(maps, depths), doubt(self.stack, maps, depths), maps[:, : depths.shape[1]]]
        whole = F.interpolate(torch.cat(parts, dim=1), size, mode="bilinear", align_corners=False)
        target, known = (torch.from_numpy(array)[None, None] for array in (raw.depth, raw.valid))
        predicted, truth, valid, _ = prepare(whole[:, :1], target, known, protocol=self.protocol)
        if not valid.any():
            return
        raw_doubt = whole[:, 1:2]
        self.reliability.add(predicted, truth, valid, sigma=self.calibration.apply(raw_doubt))
        self.ranking.update(sparsification_curves(predicted[0], truth[0], valid[0], uncertainty=raw_doubt[0]))
        self.weights.update(whole[0, 2:].numpy(), truth[0, 0].numpy(), valid[0, 0].numpy())

    def details(self) -> StackDetails:
        """What was added so far."""
        uncertainty = self.ranking.compute(self.reliability.diagram(), self.reliability.calibration_error())
        uncertainty = replace(uncertainty, calibrated_on=calibrated_on(self.stack))
        return StackDetails(weights=self.weights.compute(), uncertainty=uncertainty)
