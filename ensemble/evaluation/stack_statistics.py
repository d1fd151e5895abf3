"""What a stack's weights and its uncertainty are like on frames of known depth."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from ensemble.data.source import RawFrame
from ensemble.evaluation.calibration import calibrated_on, disagreement_of
from ensemble.evaluation.image_errors import ImageErrorStatistics
from ensemble.evaluation.results.details import (
    BINS,
    ReliabilityDetails,
    SparsificationDetails,
    SparsifiedMetric,
    StackDetails,
    UncertaintyDetails,
    WeightDetails,
)
from ensemble.metrics.expected_error import ExpectedError, image_statistics
from ensemble.metrics.protocols import EvalProtocol, enlarged, prepare
from ensemble.metrics.uncertainty import Reliability, ReliabilityBin, Sparsification, sparsification_curves
from ensemble.stacking.stack import Stack
from meta.weighing import Fused

DEPTH_EDGES = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""Metres between the ranges of true depth; wider ones where ``data.max_depth`` is beyond the last."""


class WeightStatistics:
    """Sums up weights frame by frame.

    Args:
        learners: Names for people, in the order of the weights.
        depth_edges: Metres between ranges of true depth, ascending; pixels outside of all count in the histogram alone.

    Raises:
        ValueError: Edges do not ascend.
    """

    def __init__(self, learners: Sequence[str], depth_edges: Sequence[float] = DEPTH_EDGES) -> None:
        self._learners, self._edges = tuple(learners), np.asarray(depth_edges, dtype=np.float64)
        if len(self._edges) < 2 or (np.diff(self._edges) <= 0).any():
            raise ValueError(f"weights by depth: edges {list(depth_edges)}, expected two or more, ascending")
        self._counts = np.zeros((len(learners), BINS), dtype=np.int64)
        self._range_counts = np.zeros((len(self._edges) - 1, len(learners), BINS), dtype=np.int64)
        self._beyond = np.zeros((2, len(learners)), dtype=np.int64)
        self._sums = np.zeros((len(learners), len(self._edges) - 1))
        self._pixels = np.zeros(len(self._edges) - 1, dtype=np.int64)

    def update(
        self, weights: Float[np.ndarray, "k h w"], truth: Float[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"]
    ) -> None:
        """Add the valid pixels of a frame.

        Args:
            weights: One map per learner.
            truth: Metres.
            valid: Pixels that count.

        Raises:
            ValueError: Weights of another number of learners, or NaN at a valid pixel.
        """
        if len(weights) != len(self._learners):
            raise ValueError(f"weights of {len(weights)} learners, expected those of {', '.join(self._learners)}")
        chosen, depth = weights[:, valid].astype(np.float64), truth[valid].astype(np.float64)
        if not (np.isfinite(chosen).all() and np.isfinite(depth).all()):
            raise ValueError("weights or truth are NaN or infinite at a valid pixel; nothing is repaired here")
        self._beyond += [(chosen < 0).sum(axis=1), (chosen > 1).sum(axis=1)]
        ranges = np.searchsorted(self._edges, depth, side="right") - 1
        inside = (ranges >= 0) & (ranges < len(self._pixels))
        self._pixels += np.bincount(ranges[inside], minlength=len(self._pixels))
        members = [(depth_range, ranges == depth_range) for depth_range in np.unique(ranges[inside])]
        for index, weight in enumerate(chosen):
            self._counts[index] += np.histogram(weight, bins=BINS, range=(0.0, 1.0))[0]
            for depth_range, own in members:
                self._range_counts[depth_range, index] += np.histogram(weight[own], bins=BINS, range=(0.0, 1.0))[0]
            self._sums[index] += np.bincount(ranges[inside], weight[inside], minlength=len(self._pixels))

    def compute(self) -> WeightDetails:
        """What was added so far."""
        below, above = self._beyond.tolist()
        means = [
            [total / pixels if pixels else None for total, pixels in zip(sums, self._pixels.tolist(), strict=True)]
            for sums in self._sums.tolist()
        ]
        return WeightDetails(
            learners=self._learners,
            counts=tuple(map(tuple, self._counts.tolist())),
            below=tuple(below),
            above=tuple(above),
            depth_edges=tuple(self._edges.tolist()),
            pixels=tuple(self._pixels.tolist()),
            mean_weights=tuple(map(tuple, means)),
            range_counts=tuple(tuple(map(tuple, each)) for each in self._range_counts.tolist()),
        )


class UncertaintyStatistics:
    """Means of sparsification curves over images; repeats of a fit may be added like further images."""

    def __init__(self) -> None:
        self._fractions: np.ndarray | None = None
        self._curves: dict[SparsifiedMetric, list[np.ndarray]] = {}
        self._areas: dict[SparsifiedMetric, list[tuple[float, float]]] = {}

    def update(self, curves: Mapping[SparsifiedMetric, Sparsification]) -> None:
        """Add the curves of one image with valid pixels.

        Raises:
            ValueError: Other shares of pixels are taken away than in the images before.
        """
        for metric, each in curves.items():
            if self._fractions is None:
                self._fractions = np.asarray(each.fractions)
            if not np.array_equal(self._fractions, each.fractions):
                raise ValueError(f"sparsification of {metric}: images differ in the shares that are taken away")
            self._curves.setdefault(metric, []).append(np.stack([each.by_uncertainty, each.by_error]))
            self._areas.setdefault(metric, []).append((each.ause, each.aurg))

    def compute(self, reliability: Iterable[ReliabilityBin], ence: float) -> UncertaintyDetails:
        """What was added so far, beside a reliability diagram and its calibration error.

        Raises:
            ValueError: No image was added.
        """
        if self._fractions is None:
            raise ValueError("uncertainty: no image with valid pixels was added, so there is no curve")
        found: dict[SparsifiedMetric, SparsificationDetails] = {}
        for metric, curves in self._curves.items():
            by_uncertainty, by_error = np.mean(curves, axis=0).tolist()
            ause, aurg = np.mean(self._areas[metric], axis=0).tolist()
            fractions = tuple(self._fractions.tolist())
            found[metric] = SparsificationDetails(fractions, tuple(by_uncertainty), tuple(by_error), ause, aurg)
        bins = list(reliability)
        predicted, observed = tuple(each.predicted for each in bins), tuple(each.observed for each in bins)
        return UncertaintyDetails(
            found, ReliabilityDetails(predicted, observed, tuple(each.pixels for each in bins), ence)
        )


@dataclass
class StackStatistics:
    """Sums up what a stack's weights and uncertainty are like, frame by frame, at the size of the truth.

    Attributes:
        stack: The fit.
        calibration: The error that is to be expected of it.
        titles: Of its learners.
        protocol: Which pixels count.
    """

    stack: Stack
    calibration: ExpectedError
    titles: tuple[str, ...]
    protocol: EvalProtocol
    weights: WeightStatistics = field(init=False)
    reliability: Reliability = field(init=False, default_factory=Reliability)
    ranking: UncertaintyStatistics = field(init=False, default_factory=UncertaintyStatistics)
    images: ImageErrorStatistics | None = field(init=False)

    def __post_init__(self) -> None:
        wider = max(1.0, self.stack.settings.data.max_depth / DEPTH_EDGES[-1])
        self.weights = WeightStatistics(self.titles, [wider * edge for edge in DEPTH_EDGES])
        image = self.calibration.image
        self.images = None if image is None else ImageErrorStatistics(image)

    def add(self, raw: RawFrame, fused: Fused) -> None:
        """Add one frame.

        Args:
            raw: The truth.
            fused: What the stack makes of it, at the working size.
        """
        parts = [fused.depth, disagreement_of(fused), fused.maps[:, : fused.learners.shape[1]]]
        whole = enlarged(torch.cat(parts, dim=1), raw.depth.shape)
        target, known = (torch.from_numpy(array)[None, None] for array in (raw.depth, raw.valid))
        predicted, truth, valid, _ = prepare(whole[:, :1], target, known, protocol=self.protocol.at(raw.window))
        if not valid.any():
            return
        uncertainty, statistics = whole[:, 1:2], image_statistics(fused)
        sigma = self.calibration.at(uncertainty, whole[:, :1], statistics)
        self.reliability.add(predicted, truth, valid, sigma=sigma)
        if self.images is not None:
            alone = self.calibration.pixels.apply(uncertainty)
            own = {"unsure": uncertainty, "alone": alone, "together": sigma}
            self.images.add(predicted, truth, valid, **own, statistics=statistics)
        self.ranking.update(sparsification_curves(predicted[0], truth[0], valid[0], uncertainty=uncertainty[0]))
        self.weights.update(whole[0, 2:].numpy(), truth[0, 0].numpy(), valid[0, 0].numpy())

    def details(self) -> StackDetails:
        """What was added so far."""
        uncertainty = self.ranking.compute(self.reliability.diagram(), self.reliability.calibration_error())
        images = None if self.images is None else self.images.compute()
        uncertainty = replace(uncertainty, calibrated_on=calibrated_on(self.stack), images=images)
        return StackDetails(weights=self.weights.compute(), uncertainty=uncertainty)
