"""Sums up how alike the learners err, frame by frame as they are scored."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from ensemble.evaluation.results.likeness import Likeness
from ensemble.metrics.kitti import Window
from ensemble.metrics.likeness import ErrorParts, correlations, error_parts
from ensemble.metrics.protocols import EvalProtocol, prepare


class LikenessSums:
    """Sums up how alike learners err; images without a scored pixel are left out.

    Args:
        learners: Titles, in the order of the maps.
        protocol: Which pixels count.
    """

    def __init__(self, learners: Sequence[str], protocol: EvalProtocol) -> None:
        self._learners, self._protocol = tuple(learners), protocol
        self._parts: list[ErrorParts] = []

    def add(
        self,
        learners: Float[Tensor, "1 k h w"],
        target: Float[Tensor, "1 1 h w"],
        valid: Bool[Tensor, "1 1 h w"],
        *,
        window: Window | None = None,
    ) -> None:
        """Add one image, which may be a window of a larger one: depth and truth in metres, at the size of the truth."""
        shape = (len(self._learners), 1, *target.shape[-2:])
        predicted, truth, scored, _ = prepare(
            learners.transpose(0, 1), target.expand(shape), valid.expand(shape), protocol=self._protocol.at(window)
        )
        if scored.any():
            self._parts.append(error_parts(predicted, truth[:1], scored[:1]))

    def compute(self) -> Likeness:
        """What was added so far.

        Raises:
            ValueError: No image with a scored pixel was added.
        """
        if not self._parts:
            raise ValueError("how alike learners err: no image with a scored pixel was added")
        scales = np.stack([each.scales for each in self._parts])
        within = np.mean([each.within for each in self._parts], axis=0)
        of_scale, of_rest = np.square(scales).mean(axis=0), np.diag(within)
        mean_scale = fmean(each.mean_scale**2 for each in self._parts)
        mean_rest = fmean(each.mean_within for each in self._parts)
        disagreement = fmean(each.disagreement for each in self._parts)
        centred = scales - scales.mean(axis=0)
        return Likeness(
            learners=self._learners,
            images=len(self._parts),
            within=correlations(within),
            scales=correlations(centred.T @ centred / len(centred)),
            scale_shares=tuple(_share(*pair) for pair in zip(of_scale, of_scale + of_rest, strict=True)),
            mean_scale_share=_share(mean_scale, mean_scale + mean_rest),
            disagreement_share=_share(disagreement, float(np.mean(of_scale + of_rest))),
            inside=fmean(each.inside for each in self._parts),
        )


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None
