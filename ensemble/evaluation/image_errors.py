"""How good the image part of an expected error is: reliability of images' scales, ranking of images and pixels."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from ensemble.evaluation.results.image_errors import (
    ImageErrorDetails,
    RankedBy,
    RankingDetails,
    RankingMetric,
    ScaleReliability,
)
from ensemble.metrics.expected_error import STATISTICS, ImagePart
from ensemble.metrics.uncertainty import Reliability, Sparsification, sparsification

PIXELS = 1000
"""Of an image, drawn once, whose errors are ranked: as many say all, and those of all images stay in memory."""

MOST_BINS, IMAGES_OF_A_BIN = 10, 5
"""Of the reliability of scales; bins hold as many images each, at least so many where there are two or more."""


_OF_PIXELS: tuple[RankingMetric, ...] = ("rmse", "abs_rel")


class _Image(NamedTuple):
    """One image: squared error and relative error, and what the expected error alone and with its image part says."""

    squared: float
    relative: float
    scale: float
    variance: float
    alone: tuple[float, float]
    together: tuple[float, float]


class ImageErrorStatistics:
    """Sums up, image by image, how an expected error does with its image part and without."""

    def __init__(self, part: ImagePart) -> None:
        self._part = part
        self._rng = np.random.default_rng(0)
        self._images: list[_Image] = []
        self._pixels: list[Float64[np.ndarray, "4 n"]] = []
        self._alone = Reliability()

    def add(
        self,
        predicted: Float[Tensor, "1 1 h w"],
        target: Float[Tensor, "1 1 h w"],
        valid: Bool[Tensor, "1 1 h w"],
        *,
        unsure: Float[Tensor, "1 1 h w"],
        alone: Float[Tensor, "1 1 h w"],
        together: Float[Tensor, "1 1 h w"],
        statistics: Float64[Tensor, "1 statistics"],
    ) -> None:
        """Add an image with valid pixels.

        Args:
            predicted: Depth in metres.
            target: Truth in metres.
            valid: Pixels that count.
            unsure: Disagreement of the learners; pixels rank by it where their expected errors are equal.
            alone: Expected error by disagreement alone, metres.
            together: The same with the image part.
            statistics: ``image_statistics`` of the whole image.
        """
        self._alone.add(predicted, target, valid, sigma=alone)
        maps = torch.stack([predicted, target, unsure, alone, together])
        depth, truth, ranks, *sigmas = maps.flatten(1)[:, valid.flatten()].double().numpy()
        squared, relative = np.square(depth - truth), np.abs(depth - truth) / truth
        expected = [(float(np.square(each).mean()), float((each / depth).mean())) for each in sigmas]
        scale = float((np.log(depth) - np.log(truth)).mean())
        variance = float(self._part.scale.variance(statistics)[0])
        means = (float(squared.mean()), float(relative.mean()), scale, variance)
        self._images.append(_Image(*means, *expected))
        chosen = self._rng.choice(len(depth), min(PIXELS, len(depth)), replace=False)
        by_both = sigmas[1] if self._part.share else ranks
        self._pixels.append(np.stack([each[chosen] for each in (squared, relative, ranks, by_both)]))

    def compute(self) -> ImageErrorDetails:
        """What was added so far.

        Raises:
            ValueError: No image was added.
        """
        if not self._images:
            raise ValueError("errors of images: no image with valid pixels was added")
        part = self._part
        return ImageErrorDetails(
            statistics=STATISTICS,
            weights=part.scale.weights,
            share=part.share,
            gain=part.gain,
            gain_error=part.gain_error,
            reliability=_reliability(self._images),
            rankings=(*_of_images(self._images), *_of_pixels(self._pixels)),
            ence_alone=self._alone.calibration_error(),
        )


def _reliability(images: list[_Image]) -> ScaleReliability:
    """Bins of images by their predicted variance; one where all are predicted alike."""
    variance, squared = np.array([each.variance for each in images]), np.square([each.scale for each in images])
    bins = max(1, min(MOST_BINS, len(images) // IMAGES_OF_A_BIN)) if np.ptp(variance) > 0 else 1
    members = np.array_split(np.argsort(variance, kind="stable"), bins)
    roots = [[float(np.sqrt(values[own].mean())) for own in members] for values in (variance, squared)]
    return ScaleReliability(tuple(roots[0]), tuple(roots[1]), tuple(len(own) for own in members))


def _of_images(images: list[_Image]) -> list[RankingDetails]:
    """Images ranked by their expected errors; today's has none of scales, so that its relative error stands for it."""
    squared, relative, scale, variance, alone, together = (np.array(column) for column in zip(*images, strict=True))
    return [
        _ranking("images", "rmse", squared, alone[:, 0], together[:, 0]),
        _ranking("images", "abs_rel", relative, alone[:, 1], together[:, 1]),
        _ranking("images", "scale", np.square(scale), alone[:, 1], variance),
    ]


def _of_pixels(images: list[np.ndarray]) -> list[RankingDetails]:
    """Pixels of all images ranked together, and those of every image by themselves."""
    whole, within = [], []
    everything = np.concatenate(images, axis=1)
    for index, metric in enumerate(_OF_PIXELS):
        whole.append(_ranking("pixels", metric, everything[index], everything[2], everything[3]))
        own = [_ranking("pixels within images", metric, each[index], each[2], each[3]) for each in images]
        areas = np.mean([(each.alone, each.together, each.by_chance) for each in own], axis=0).tolist()
        within.append(RankingDetails("pixels within images", metric, *areas))
    return [*whole, *within]


def _ranking(
    ranked: RankedBy, metric: RankingMetric, error: np.ndarray, alone: np.ndarray, together: np.ndarray
) -> RankingDetails:
    """AUSE by either expected error, and of any order."""

    def curves(uncertainty: np.ndarray) -> Sparsification:
        return sparsification(error, uncertainty, root=metric != "abs_rel")

    by_alone, by_both = curves(alone), curves(together)
    return RankingDetails(ranked, metric, by_alone.ause, by_both.ause, by_alone.ause + by_alone.aurg)
