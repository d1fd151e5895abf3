"""What is written of the image part of expected errors, held against computations of its own."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ensemble.evaluation.image_errors import ImageErrorStatistics
from ensemble.evaluation.results.image_errors import ImageErrorDetails
from ensemble.metrics.expected_error import ExpectedError, ImagePart, ScaleError, image_statistics
from ensemble.metrics.expected_error_fit import ErrorSample, fit_expected_error
from ensemble.metrics.uncertainty import FRACTIONS, Calibration, disagreement
from meta.weighing import Fused

SIZE = (24, 32)


def scene_of(rng: np.random.Generator, *, learner_noise: float, scale_noise: float) -> tuple[Fused, Tensor]:
    """Two learners and the truth of an image; ``scale_noise`` is what their scales are off by, as is their quarrel."""
    slope = torch.linspace(0, 1, SIZE[1], dtype=torch.float64).expand(1, 1, *SIZE)
    truth = math.exp(rng.normal(0.8, 0.3)) * (1 + slope)
    hard = math.exp(0.8 * rng.normal())
    common = scale_noise * hard * rng.normal()
    maps = []
    for _ in range(2):
        own = torch.from_numpy(rng.normal(size=(1, 1, *SIZE)))
        maps.append(truth * torch.exp(common + learner_noise * own + 0.3 * scale_noise * hard * rng.normal()))
    learners = torch.cat(maps, dim=1)
    shares = torch.full_like(learners, 0.5)
    return Fused(learners.mean(dim=1, keepdim=True), shares, learners, shares), truth


def sample_of(fused: Fused, truth: Tensor, scene: str, rng: np.random.Generator) -> ErrorSample:
    unsure = disagreement(fused.shares, fused.learners, fused.depth)
    chosen = rng.choice(truth.numel(), 100, replace=False)
    pixels = (unsure, (fused.depth - truth).square(), fused.depth)
    scale = float((fused.depth.log() - truth.log()).mean())
    return ErrorSample(scene, image_statistics(fused)[0].numpy(), scale, *(p.flatten().numpy()[chosen] for p in pixels))


def fitted(seed: int, **noise: float) -> ExpectedError:
    rng = np.random.default_rng(seed)
    return fit_expected_error([sample_of(*scene_of(rng, **noise), f"scene_{index // 3}", rng) for index in range(120)])


def judged(expected: ExpectedError, seed: int, images: int = 200, **noise: float) -> ImageErrorDetails:
    assert expected.image is not None
    rng, statistics = np.random.default_rng(seed), ImageErrorStatistics(expected.image)
    for _ in range(images):
        fused, truth = scene_of(rng, **noise)
        unsure = disagreement(fused.shares, fused.learners, fused.depth)
        statistics.add(
            fused.depth,
            truth,
            torch.ones_like(truth, dtype=torch.bool),
            unsure=unsure,
            alone=expected.pixels.apply(unsure),
            together=expected.of(fused),
            statistics=image_statistics(fused),
        )
    return statistics.compute()


def test_scales_that_go_with_quarrels_are_told_and_everything_ranks_better() -> None:
    noise = {"learner_noise": 0.1, "scale_noise": 0.15}
    details = judged(fitted(0, **noise), 1, **noise)
    assert details.share > 0
    assert sum(details.weights[:2]) > 0.5, "learners whose scales are apart err in scale"
    found = details.reliability
    assert sum(found.images) == 200
    assert list(found.predicted) == sorted(found.predicted)
    assert found.observed[-1] > 1.5 * found.observed[0]
    for each in details.rankings:
        if each.ranked != "pixels within images":
            assert each.together < each.by_chance, each
    ranks = {(each.ranked, each.metric): each for each in details.rankings}
    assert ranks["images", "scale"].together < ranks["images", "scale"].alone
    assert ranks["pixels", "rmse"].together < ranks["pixels", "rmse"].alone


@pytest.mark.parametrize("seed", range(3))
def test_learners_made_of_noise_rank_no_worse_than_by_disagreement_alone(seed: int) -> None:
    noise = {"learner_noise": 0.3, "scale_noise": 0.0}
    details = judged(fitted(seed, **noise), seed + 10, **noise)
    for each in details.rankings:
        if each.metric != "scale":
            assert each.together <= 1.001 * each.alone, each


def by_hand(error: np.ndarray, ranking: np.ndarray, *, root: bool) -> float:
    order, curve = np.argsort(ranking, kind="stable"), []
    for fraction in FRACTIONS:
        kept = error[order][: len(error) - int(fraction * len(error) + 1e-9)].mean()
        curve.append(np.sqrt(kept) if root else kept)
    return float(np.trapezoid(curve, FRACTIONS))


def test_rankings_and_bins_by_hand() -> None:
    rng = np.random.default_rng(3)
    scale = ScaleError((0.0,) * 4, (1.0,) * 4, (-9.0,) * 4, (9.0,) * 4, (1.0, 0.0, 0.0, 0.0), 0.0)
    statistics = ImageErrorStatistics(ImagePart(scale, 0.5, Calibration((1.0,), (1.0,)), 0.1, 0.2))
    shape, kept = (1, 1, 4, 5), []
    for index in range(11):
        truth, predicted, unsure, together = (torch.from_numpy(rng.uniform(1, 3, shape)) for _ in range(4))
        valid = torch.ones(shape, dtype=torch.bool)
        valid[..., 0, 0] = False
        truth[..., 0, 0] = torch.nan
        told = torch.tensor([[float(index % 7), 0.0, 0.0, 0.0]], dtype=torch.float64)
        own = {"unsure": unsure, "alone": unsure.sqrt(), "together": together}
        statistics.add(predicted, truth, valid, **own, statistics=told)
        kept.append([*(each[valid].numpy() for each in (truth, predicted, unsure, together)), math.exp(index % 7)])
    details = statistics.compute()
    truth, predicted, unsure, together = (np.array([each[place] for each in kept]) for place in range(4))
    squared, relative = (predicted - truth) ** 2, np.abs(predicted - truth) / truth
    scales, variance = np.log(predicted / truth).mean(axis=1), np.array([each[4] for each in kept])
    found = {(each.ranked, each.metric): each for each in details.rankings}
    assert len(found) == 7
    for metric, error, root in (("rmse", squared, True), ("abs_rel", relative, False)):
        own = error.mean(axis=1)
        rank = (together**2 if root else together / predicted).mean(axis=1)
        expected = by_hand(own, rank, root=root) - by_hand(own, own, root=root)
        assert found["images", metric].together == pytest.approx(expected)
        expected = by_hand(error.ravel(), unsure.ravel(), root=root) - by_hand(error.ravel(), error.ravel(), root=root)
        assert found["pixels", metric].alone == pytest.approx(expected)
        within = [by_hand(e, r, root=root) - by_hand(e, e, root=root) for e, r in zip(error, together, strict=True)]
        assert found["pixels within images", metric].together == pytest.approx(np.mean(within))
        whole = np.sqrt(error.mean()) if root else error.mean()
        by_chance = whole * FRACTIONS[-1] - by_hand(error.ravel(), error.ravel(), root=root)
        assert found["pixels", metric].by_chance == pytest.approx(by_chance)
    assert found["images", "scale"].by_chance > 0
    order = np.argsort(variance, kind="stable")
    parts = np.array_split(order, 2)
    assert details.reliability.images == (6, 5)
    assert details.reliability.predicted == pytest.approx([math.sqrt(variance[part].mean()) for part in parts])
    assert details.reliability.observed == pytest.approx([math.sqrt((scales[part] ** 2).mean()) for part in parts])
    assert (details.share, details.gain, details.gain_error) == (0.5, 0.1, 0.2)


def test_no_image_is_refused() -> None:
    scale = ScaleError((0.0,) * 4, (1.0,) * 4, (0.0,) * 4, (0.0,) * 4, (0.0,) * 4, 0.0)
    with pytest.raises(ValueError, match="no image with valid pixels"):
        ImageErrorStatistics(ImagePart(scale, 0.0, Calibration((1.0,), (1.0,)), 0.0, 0.0)).compute()
