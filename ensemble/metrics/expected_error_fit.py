"""Fits an expected error to rows that the learners never saw, its image part only as far as held-out scenes want it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64

from ensemble.metrics.expected_error import ExpectedError, ImagePart, ScaleError
from ensemble.metrics.uncertainty import Calibration, calibrate, sparsification

LEAST_SCENES = 10
"""Fewer cannot tell whether images differ in how far their scales are off."""

HELD_OUT = 5
"""Groups of scenes that are left out one after the other."""

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
"""Of squared weights, beside the mean half deviance of a gamma regression; infinite where images are not told apart."""

SHARES = (0.5, 1.0)
"""Of the scale's variance that may count."""

BEYOND_CHANCE = 2.0
"""Standard errors over scenes that a gain on held-out ones must have to be taken."""

CHOOSING_PIXELS = 100
"""Of an image, when a share is chosen."""

LEAST_GAIN = 1e-3
"""And how large it must be: what is smaller changes no expected error that anybody reads."""

LEAST_VARIANCE = 1e-6
"""Square metres, a deviation of 1 mm: no measurement is better, and 0 would be infinitely wrong."""

LEAST_SQUARE = 1e-12
"""Of a log error of scale: the logarithm of 0 is none."""


class ErrorSample(NamedTuple):
    """One image of rows that the learners never saw, with some of its valid pixels.

    Attributes:
        scene: Where it was taken.
        statistics: ``image_statistics``.
        scale_error: Mean log error over all valid pixels.
        disagreement: Of the learners at some pixels, metres.
        squared_error: Of the fused depth there, square metres.
        depth: The fused depth there, metres.
    """

    scene: str
    statistics: Float64[np.ndarray, " statistics"]
    scale_error: float
    disagreement: Float[np.ndarray, " n"]
    squared_error: Float[np.ndarray, " n"]
    depth: Float[np.ndarray, " n"]


Images = Sequence[ErrorSample]

Part = tuple[Images, Images]
"""Images to fit to, and images held out."""


def fit_expected_error(images: Images) -> ExpectedError:
    """An expected error, with an image part where there are ``LEAST_SCENES`` scenes.

    The image part has two things to shrink: the weights of the statistics, to none where held-out scenes do not say
    that images differ, and the share of the scale's variance, to none where the expected error of their pixels does not
    gain by it. Both are held against the likelihood of a normal error, whose best variance is the mean squared error.
    Where images do not differ, an image part is still an error in proportion to depth, as that of a scale is. It must
    not rank the pixels of held-out images worse, in metres or relative to depth, as it does for learners made of noise.

    Raises:
        ValueError: As ``calibrate``.
    """
    pixels = _calibrated(images)
    if len({each.scene for each in images}) < LEAST_SCENES:
        return ExpectedError(pixels)
    parts = _divided([_fewer(each) for each in images])
    penalty = _chosen_penalty(parts)
    share, gain, error = _chosen_share(parts, penalty)
    taken = share if gain > max(LEAST_GAIN, BEYOND_CHANCE * error) else 0.0
    scale = _scale_error(images, penalty)
    rest = _rest(images, scale, taken) if taken else pixels
    return ExpectedError(pixels, ImagePart(scale, taken, rest, gain, error))


def _fewer(image: ErrorSample) -> ErrorSample:
    """The image with as many pixels as tell shares apart; they stand in no order."""
    unsure, squared, depth = (each[:CHOOSING_PIXELS] for each in image[-3:])
    return image._replace(disagreement=unsure, squared_error=squared, depth=depth)


def _divided(images: Images) -> list[Part]:
    """Images to fit to and images held out, for every group of scenes; no scene is cut."""
    scenes = sorted({each.scene for each in images})
    np.random.default_rng(0).shuffle(scenes)
    group = {scene: index % HELD_OUT for index, scene in enumerate(scenes)}
    return [
        ([each for each in images if group[each.scene] != own], [each for each in images if group[each.scene] == own])
        for own in range(HELD_OUT)
    ]


def _chosen_penalty(parts: Sequence[Part]) -> float:
    """The penalty that held-out scales of images want; infinite where they cannot tell that any is better."""

    def losses(penalty: float) -> list[list[float]]:
        found = []
        for fitted, held_out in parts:
            variance = _variances(_scale_error(fitted, penalty), held_out)
            squares = np.square([each.scale_error for each in held_out])
            found.append((np.log(variance) + squares / variance).tolist())
        return found

    alike = losses(np.inf)
    gains = {penalty: _gain(parts, alike, losses(penalty)) for penalty in PENALTIES}
    sure = {penalty: gain for penalty, (gain, error) in gains.items() if gain > BEYOND_CHANCE * error}
    return max(sure, key=lambda penalty: sure[penalty], default=np.inf)


def _chosen_share(parts: Sequence[Part], penalty: float) -> tuple[float, float, float]:
    """The best share of an image part for pixels of held-out scenes, its gain over none, and the gain's error.

    Where images are expected alike, shares that rank pixels worse count as 0, with what they would have gained.
    """
    without = _held_out_variances(parts, penalty, 0.0)
    losses, areas = _pixel_losses(parts, without), _areas(parts, without)
    found = []
    for share in SHARES:
        expected = _held_out_variances(parts, penalty, share)
        worse = any(new > old for new, old in zip(_areas(parts, expected), areas, strict=True))
        counted = 0.0 if worse and not np.isfinite(penalty) else share
        found.append((counted, *_gain(parts, losses, _pixel_losses(parts, expected))))
    return max(found, key=lambda each: (each[0] > 0, each[1]))


Variances = Sequence[Sequence[np.ndarray]]
"""Of some pixels of every image held out, for every group of scenes; square metres."""


def _held_out_variances(parts: Sequence[Part], penalty: float, share: float) -> Variances:
    """Expected squared errors by a fit to the other scenes; as ``ExpectedError.at``, in NumPy."""
    found = []
    for fitted, held_out in parts:
        scale = _scale_error(fitted, penalty)
        rest = _rest(fitted, scale, share)
        found.append(
            [
                variance * np.square(image.depth, dtype=np.float64)
                + np.interp(image.disagreement, rest.disagreement, rest.squared_error)
                for variance, image in zip(share * _variances(scale, held_out), held_out, strict=True)
            ]
        )
    return found


def _pixel_losses(parts: Sequence[Part], expected: Variances) -> list[list[float]]:
    """Mean over the pixels of every image held out."""
    found = []
    for (_, held_out), variances in zip(parts, expected, strict=True):
        held = [np.maximum(variance, LEAST_VARIANCE) for variance in variances]
        losses = [np.log(each) + image.squared_error / each for each, image in zip(held, held_out, strict=True)]
        found.append([float(each.mean()) for each in losses])
    return found


def _areas(parts: Sequence[Part], expected: Variances) -> tuple[float, float]:
    """AUSE of the pixels of all images held out, of errors in metres and relative to the fused depth.

    Of pixels that are expected to err alike, those that learners disagree about go first.
    """
    images = [image for _, held_out in parts for image in held_out]
    squared, depth, unsure = (
        np.concatenate([getattr(image, name) for image in images]).astype(np.float64)
        for name in ("squared_error", "depth", "disagreement")
    )
    variance = np.concatenate([each for variances in expected for each in variances])
    ranks = np.empty(len(variance))
    ranks[np.lexsort((unsure, variance))] = np.arange(len(variance))
    relative = np.sqrt(squared) / depth
    return sparsification(squared, ranks, root=True).ause, sparsification(relative, ranks).ause


def _gain(
    parts: Sequence[Part], before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """Mean over scenes of how much smaller the losses of held-out images are, and its standard error."""
    scenes: dict[str, list[float]] = {}
    for (_, held_out), old, new in zip(parts, before, after, strict=True):
        for each, former, latter in zip(held_out, old, new, strict=True):
            scenes.setdefault(each.scene, []).append(former - latter)
    gains = np.array([np.mean(own) for own in scenes.values()])
    return float(gains.mean()), float(gains.std(ddof=1) / len(gains) ** 0.5)


def _rest(images: Images, scale: ScaleError, share: float) -> Calibration:
    """What is left of the squared errors beside the image part, by disagreement: both together stay calibrated."""
    variances = share * _variances(scale, images)
    explained = [
        variance * np.square(each.depth, dtype=np.float64) for variance, each in zip(variances, images, strict=True)
    ]
    return _calibrated(images, np.concatenate(explained))


def _calibrated(images: Images, explained: np.ndarray | None = None) -> Calibration:
    unsure, squared = (
        np.concatenate([getattr(each, name) for each in images]) for name in ("disagreement", "squared_error")
    )
    return calibrate(unsure, squared, explained=explained)


def _variances(scale: ScaleError, images: Images) -> Float64[np.ndarray, " images"]:
    return scale.variance(torch.from_numpy(np.stack([each.statistics for each in images]))).numpy()


def _scale_error(images: Images, penalty: float) -> ScaleError:
    """Gamma regression of squared errors of scale on the statistics of images, with squared weights penalised.

    Source: McCullagh and Nelder 1989, chapter 8; squares of normal errors are gamma distributed around their variance.
    """
    from sklearn.linear_model import GammaRegressor

    statistics = np.stack([each.statistics for each in images])
    squares = np.maximum(np.square([each.scale_error for each in images]), LEAST_SQUARE)
    deviation = statistics.std(axis=0)
    deviation[deviation < 1e-9] = 1.0
    columns = (statistics.mean(axis=0), deviation, statistics.min(axis=0), statistics.max(axis=0))
    mean, own, low, high = (tuple(column.tolist()) for column in columns)
    weights, intercept = (0.0,) * len(mean), float(np.log(squares.mean()))
    if np.isfinite(penalty):
        fitted = GammaRegressor(alpha=penalty, max_iter=1000).fit((statistics - mean) / deviation, squares)
        weights, intercept = tuple(fitted.coef_.tolist()), float(fitted.intercept_)
    return ScaleError(mean, own, low, high, weights, intercept)
