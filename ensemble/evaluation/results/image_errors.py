"""What is known of the image part of a stack's expected error, as it stands in ``details.json``."""

from typing import Literal

from pydantic import NonNegativeInt
from pydantic.dataclasses import dataclass as checked_dataclass

from ensemble.evaluation.results.scores import CHECKED

RankedBy = Literal["images", "pixels", "pixels within images"]
"""What is ranked: whole images, pixels of all images together, those of every image by themselves."""

RankingMetric = Literal["rmse", "abs_rel", "scale"]
"""Errors that are left: metres, relative, or of the scale of an image in natural-log units."""


@checked_dataclass(frozen=True, config=CHECKED)
class RankingDetails:
    """Area under the sparsification error (AUSE) of one ranking; 0 is perfect."""

    ranked: RankedBy
    metric: RankingMetric
    alone: float  # by the expected error from disagreement alone
    together: float  # by the one with its image part; of scales, by the predicted error of the scale
    by_chance: float  # of any order, on average


@checked_dataclass(frozen=True, config=CHECKED)
class ScaleReliability:
    """Predicted against observed errors of images' scales in natural-log units, bin by bin."""

    predicted: tuple[float, ...]  # root mean predicted variance of each bin
    observed: tuple[float, ...]  # root mean squared error of the scale
    images: tuple[NonNegativeInt, ...]  # of each bin

    def __post_init__(self) -> None:
        """Refuses columns of several lengths."""
        lengths = [len(each) for each in (self.predicted, self.observed, self.images)]
        if len(set(lengths)) > 1:
            raise ValueError(f"reliability of scales in {lengths} bins, expected as many of each")


@checked_dataclass(frozen=True, config=CHECKED)
class ImageErrorDetails:
    """The image part of an expected error, and what it is worth on the scored images."""

    statistics: tuple[str, ...]  # of an image, that its scale's error is told by
    weights: tuple[float, ...]  # of the log variance, per deviation of each; all 0 where images are predicted alike
    share: float  # of the variance of scales that the expected error has; 0 where held-out scenes did not want it
    gain: float
    """Of the best share above 0 on held-out scenes of training, in mean log variance + squared error / variance."""
    gain_error: float  # its standard error over scenes
    reliability: ScaleReliability
    rankings: tuple[RankingDetails, ...]
    ence_alone: float  # expected normalised calibration error by disagreement alone
