"""The expected error with its image part: by hand, where the answer is planted, and where there is nothing to find."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from ensemble.metrics.expected_error import STATISTICS, ExpectedError, ImagePart, ScaleError, image_statistics
from ensemble.metrics.expected_error_fit import LEAST_SCENES, ErrorSample, fit_expected_error
from ensemble.metrics.uncertainty import Calibration, calibrate
from meta.weighing import Fused

SCALE = ScaleError(
    mean=(0.0, 0.0, 1.0, 0.0),
    deviation=(1.0, 1.0, 0.5, 1.0),
    low=(-2.0, -2.0, 0.0, -2.0),
    high=(2.0, 2.0, 2.0, 2.0),
    weights=(1.0, 0.0, -0.5, 0.0),
    intercept=math.log(0.01),
)
PIXELS, REST = Calibration((0.1, 1.0), (0.04, 0.25)), Calibration((0.1, 1.0), (0.03, 0.09))
PART = ImagePart(SCALE, 1.0, REST, 0.2, 0.05)


def fused_of(*depths: Tensor, shares: Tensor | None = None) -> Fused:
    learners = torch.cat(depths, dim=1)
    own = torch.full_like(learners, 1 / learners.shape[1]) if shares is None else shares
    return Fused((own * learners).sum(dim=1, keepdim=True), own, learners, own)


def planes(*values: float) -> Tensor:
    """One image per value, equal everywhere."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 4, 6).contiguous()


# --- statistics of images


def test_statistics_by_hand():
    top = torch.ones(1, 1, 4, 6)
    top[:, :, 2:] = math.e
    found = image_statistics(
        Fused(top, torch.ones(1, 2, 4, 6), torch.cat([top, top], dim=1), torch.full((1, 2, 4, 6), 0.5))
    )
    assert found[0].tolist() == pytest.approx([math.log(1e-4), math.log(1e-4), 0.5, 0.5])
    apart = Fused(
        top, top, torch.cat([top * math.exp(0.2), top * math.exp(-0.2)], dim=1), torch.full((1, 2, 4, 6), 0.5)
    )
    assert image_statistics(apart)[0].tolist() == pytest.approx([math.log(0.2), math.log(0.2), 0.5, 0.5], rel=1e-5)


def test_learners_that_differ_within_an_image_have_no_spread_of_scales():
    up, down = torch.ones(1, 1, 4, 6), torch.ones(1, 1, 4, 6)
    up[:, :, 2:], down[:, :, :2] = math.exp(0.4), math.exp(0.4)
    fused = Fused(torch.ones(1, 1, 4, 6), up, torch.cat([up, down], dim=1), torch.full((1, 2, 4, 6), 0.5))
    disagreeing, spread = image_statistics(fused)[0, :2].tolist()
    assert disagreeing == pytest.approx(math.log(0.4 / 2**0.5), rel=1e-5)
    assert spread == pytest.approx(math.log(1e-4), rel=1e-3)


def test_images_of_a_batch_are_told_of_by_themselves():
    generator = torch.Generator().manual_seed(0)
    several = fused_of(*(1 + torch.rand(3, 1, 4, 6, generator=generator) for _ in range(3)))
    together = image_statistics(several)
    assert together.shape == (3, len(STATISTICS))
    for index in range(3):
        torch.testing.assert_close(image_statistics(several.of(index)), together[index : index + 1])


# --- what is expected


def test_variances_of_scales_by_hand_and_beyond_what_was_seen():
    seen = torch.tensor([[0.0, 9.0, 1.0, 9.0], [2.0, 0.0, 2.0, 0.0], [50.0, 0.0, 50.0, 0.0]], dtype=torch.float64)
    variance = SCALE.variance(seen).tolist()
    assert variance == pytest.approx([0.01, 0.01 * math.exp(2 - 1), 0.01 * math.exp(2 - 1)])
    assert SCALE.variance(torch.full((1, 4), torch.nan, dtype=torch.float64)).isnan().all()


def test_variances_add_up():
    statistics = torch.tensor([[0.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    unsure, depth = torch.tensor([0.1, 1.0]).view(1, 1, 1, 2), torch.tensor([2.0, 5.0]).view(1, 1, 1, 2)
    whole = ExpectedError(PIXELS, PART).at(unsure, depth, statistics).flatten().tolist()
    assert whole == pytest.approx([math.sqrt(0.01 * 4 + 0.03), math.sqrt(0.01 * 25 + 0.09)])
    half = ExpectedError(PIXELS, replace(PART, share=0.5)).at(unsure, depth, statistics).flatten().tolist()
    assert half == pytest.approx([math.sqrt(0.02 + 0.03), math.sqrt(0.125 + 0.09)])


def test_no_image_part_and_none_of_its_share_are_the_error_by_disagreement_alone():
    generator = torch.Generator().manual_seed(1)
    fused = fused_of(*(1 + 2 * torch.rand(2, 1, 4, 6, generator=generator) for _ in range(3)))
    alone = ExpectedError(PIXELS).of(fused)
    assert torch.equal(ExpectedError(PIXELS, replace(PART, share=0.0)).of(fused), alone)
    assert not torch.equal(ExpectedError(PIXELS, PART).of(fused), alone)


def test_an_expected_error_survives_plain_data():
    expected = ExpectedError(PIXELS, PART)
    plain = json.loads(json.dumps(expected.image_to_plain()))
    assert ImagePart.from_plain(plain) == PART
    assert ExpectedError(PIXELS).image_to_plain() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 1.5}, "share 1.5, expected 0 to 1"),
        ({"share": None}, "expected scale, share, rest, gain and gain_error"),
        ({"rest": {}}, "expected lists disagreement and squared_error"),
        ({"scale": {}}, "expected scale, share, rest"),
        ({"scale": {**json.loads(json.dumps(vars(SCALE))), "weights": [1.0]}}, "expected finite ones of disagreement"),
        ({"scale": {**json.loads(json.dumps(vars(SCALE))), "intercept": math.inf}}, "expected finite ones"),
        (
            {"scale": {**json.loads(json.dumps(vars(SCALE))), "deviation": [1.0, 0.0, 1.0, 1.0]}},
            "expected numbers above 0",
        ),
    ],
)
def test_plain_data_that_is_no_image_part_is_refused(change, message):
    plain = ExpectedError(PIXELS, PART).image_to_plain()
    with pytest.raises(ValueError, match=message):
        ImagePart.from_plain({**(plain or {}), **change})


# --- fitting


def rows(seed: int, *, telling: float, off: float, scenes: int = 40, frames: int = 4, pixels: int = 200):
    """Images whose scale is off by ``off * exp(telling / 2 * statistic)``; their pixels err with their disagreement."""
    rng = np.random.default_rng(seed)
    found, expected = [], []
    for scene in range(scenes):
        hard = rng.normal()
        for _ in range(frames):
            statistics = np.array([hard + 0.3 * rng.normal(), rng.normal(), 0.7 + 0.3 * rng.normal(), rng.normal()])
            deviation = off * math.exp(telling / 2 * statistics[0])
            scale = deviation * rng.normal()
            depth = np.exp(statistics[2] + 0.3 * rng.normal(size=pixels))
            unsure = 0.1 * depth * rng.gamma(2, 0.5, size=pixels)
            rest = 0.5 * unsure * rng.normal(size=pixels)
            found.append(ErrorSample(f"scene_{scene}", statistics, scale, unsure, (depth * scale + rest) ** 2, depth))
            expected.append(deviation)
    return found, np.array(expected)


def predicted(expected: ExpectedError, images) -> np.ndarray:
    assert expected.image is not None
    statistics = torch.from_numpy(np.stack([each.statistics for each in images]))
    return expected.image.scale.variance(statistics).sqrt().numpy()


def squares(expected: ExpectedError, images) -> tuple[np.ndarray, np.ndarray]:
    """Mean expected and mean squared error of every image."""
    found = []
    for each in images:
        unsure, depth = (torch.from_numpy(part).view(1, 1, 1, -1) for part in (each.disagreement, each.depth))
        metres = expected.at(unsure, depth, torch.from_numpy(each.statistics)[None])
        found.append((metres.square().mean().item(), each.squared_error.mean()))
    first, second = np.array(found).T
    return first, second


def test_a_planted_error_of_scales_is_recovered():
    images, deviations = rows(0, telling=1.0, off=0.15)
    expected = fit_expected_error(images)
    assert expected.image is not None
    assert expected.image.share == 1.0
    assert expected.image.gain > 2 * expected.image.gain_error
    assert expected.image.scale.weights[0] > 3 * max(map(abs, expected.image.scale.weights[1:]))
    fresh, deviations = rows(1, telling=1.0, off=0.15)
    inside = np.abs(np.log(predicted(expected, fresh) / deviations))
    assert np.median(inside) < 0.2
    assert np.corrcoef(np.log(predicted(expected, fresh)), np.log(deviations))[0, 1] > 0.95


def test_the_whole_stays_calibrated_and_images_are_told_apart():
    images, _ = rows(0, telling=1.0, off=0.15, scenes=150)
    expected = fit_expected_error(images)
    fitted, seen = squares(expected, images)
    assert fitted.mean() == pytest.approx(seen.mean(), rel=0.03)
    fresh, _ = rows(1, telling=1.0, off=0.15, scenes=150)
    whole, observed = squares(expected, fresh)
    alone, _ = squares(ExpectedError(expected.pixels), fresh)
    assert whole.mean() == pytest.approx(observed.mean(), rel=0.15)
    order = np.argsort(whole)
    for part in np.array_split(order, 4):
        assert whole[part].mean() == pytest.approx(observed[part].mean(), rel=0.35)
    assert np.corrcoef(np.log(whole), np.log(observed))[0, 1] > 0.1 + np.corrcoef(np.log(alone), np.log(observed))[0, 1]


def test_images_that_cannot_be_told_apart_are_expected_alike():
    images, _ = rows(2, telling=0.0, off=0.15)
    expected = fit_expected_error(images)
    assert expected.image is not None
    assert expected.image.scale.weights == (0.0, 0.0, 0.0, 0.0)
    observed = np.sqrt(np.mean(np.square([each.scale_error for each in images])))
    assert predicted(expected, images) == pytest.approx(np.full(len(images), observed))


@pytest.mark.parametrize("seed", range(4))
def test_the_image_part_shrinks_to_nothing_where_scales_are_right(seed: int):
    images, _ = rows(seed, telling=0.0, off=0.0)
    expected = fit_expected_error(images)
    assert expected.image is not None
    assert expected.image.share == 0.0
    assert expected.image.rest == expected.pixels
    whole, _ = squares(expected, images)
    alone, _ = squares(ExpectedError(expected.pixels), images)
    assert whole.tolist() == alone.tolist()


def test_few_scenes_have_no_image_part():
    images, _ = rows(0, telling=1.0, off=0.15, scenes=LEAST_SCENES - 1)
    expected = fit_expected_error(images)
    assert expected.image is None
    unsure, squared = (
        np.concatenate(each) for each in zip(*((i.disagreement, i.squared_error) for i in images), strict=True)
    )
    assert expected.pixels == calibrate(unsure, squared)


def test_what_is_explained_is_taken_from_the_errors_and_leaves_none_below_nothing():
    unsure, squared = np.repeat([0.1, 0.2], 100), np.repeat([0.5, 1.0], 100)
    left = calibrate(unsure, squared, explained=np.repeat([0.9, 0.4], 100))
    assert left.squared_error == pytest.approx((0.0, 0.6))
    assert calibrate(unsure, squared, explained=np.zeros(200)) == calibrate(unsure, squared)
