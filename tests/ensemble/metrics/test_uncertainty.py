"""Uncertainty: disagreement, calibration, sparsification and reliability, by hand and where the answer is known."""

import json

import numpy as np
import pytest
import torch

from ensemble.metrics.uncertainty import (
    FRACTIONS,
    KNOTS,
    Calibration,
    Reliability,
    calibrate,
    disagreement,
    sparsification,
    sparsification_curves,
)


def row(*values):
    """One image of one row of pixels."""
    return torch.tensor(values).view(1, 1, 1, -1)


def maps(seed=0, *, images=2, size=(24, 32)):
    """Truth, a prediction with errors of 0 to 20 %, and a mask that leaves a tenth of the pixels out."""
    generator = torch.Generator().manual_seed(seed)
    target = 0.5 + 9 * torch.rand(images, 1, *size, generator=generator, dtype=torch.float64)
    spread = 0.2 * torch.rand(target.shape, generator=generator, dtype=torch.float64)
    predicted = target * (1 + spread * torch.randn(target.shape, generator=generator, dtype=torch.float64).clamp(-3, 3))
    valid = torch.rand(target.shape, generator=generator) > 0.1
    return predicted, target, valid, spread


def poisoned(depth, valid):
    return depth.where(valid, torch.nan)


def areas(predicted, target, valid, *, uncertainty):
    """AUSE and AURG of every image, by metric."""
    images = [
        sparsification_curves(predicted[image], target[image], valid[image], uncertainty=uncertainty[image])
        for image in range(len(valid))
    ]
    found = {}
    for name in ("rmse", "abs_rel"):
        found[f"ause_{name}"] = torch.tensor([curves[name].ause for curves in images])
        found[f"aurg_{name}"] = torch.tensor([curves[name].aurg for curves in images])
    return found


# --- disagreement


def test_disagreement_by_hand():
    depths = torch.tensor([1.0, 3.0, 8.0]).view(1, 3, 1, 1)
    weights = torch.tensor([0.5, 0.5, 0.0]).view(1, 3, 1, 1)
    assert disagreement(weights, depths, row(2.0)).item() == 1.0
    assert disagreement(weights, depths, row(3.0)).item() == pytest.approx(2**0.5)
    assert disagreement(weights, depths[:, [0, 0, 0]], row(1.0)).item() == 0.0


def test_the_weighted_mean_has_the_smallest_disagreement():
    generator = torch.Generator().manual_seed(0)
    depths = 10 * torch.rand(2, 4, 5, 6, generator=generator)
    weights = torch.randn(2, 4, 5, 6, generator=generator).softmax(dim=1)
    mean = (weights * depths).sum(dim=1, keepdim=True)
    for shift in (-0.3, 0.2):
        assert (disagreement(weights, depths, mean + shift) > disagreement(weights, depths, mean)).all()


def test_weights_that_are_none_have_no_disagreement():
    depths = torch.ones(1, 2, 1, 1)
    with pytest.raises(ValueError, match=r"miss the sum 1 by 0\.2"):
        disagreement(torch.full((1, 2, 1, 1), 0.6), depths, row(1.0))
    with pytest.raises(ValueError, match="1 weights are negative"):
        disagreement(torch.tensor([1.5, -0.5]).view(1, 2, 1, 1), depths, row(1.0))


# --- calibration


def test_calibration_recovers_a_known_monotone_map():
    generator = np.random.default_rng(0)
    sigma = generator.gamma(2.0, 0.2, size=200_000)
    known = 0.05 + 0.5 * sigma**1.5
    fitted = calibrate(sigma, np.square(known * generator.normal(size=len(sigma))))
    inside = np.quantile(sigma, np.linspace(0.02, 0.98, 50))
    expected = 0.05 + 0.5 * inside**1.5
    np.testing.assert_allclose(fitted.apply(torch.from_numpy(inside)).numpy(), expected, rtol=0.08)
    assert len(fitted.disagreement) <= KNOTS


def test_calibration_never_falls_and_is_held_beyond_its_ends():
    generator = np.random.default_rng(1)
    sigma = generator.uniform(0, 1, size=3000)
    fitted = calibrate(sigma, np.square(generator.normal(size=3000)) * (1.2 - sigma))  # errors that fall
    metres = fitted.apply(torch.linspace(0, 100, 5000))
    assert (metres.diff() >= 0).all()
    assert metres[0] ** 2 == pytest.approx(fitted.squared_error[0])
    assert metres[-1] ** 2 == pytest.approx(fitted.squared_error[-1])


def test_calibration_keeps_the_mean_squared_error_of_its_pixels():
    generator = np.random.default_rng(2)
    sigma = generator.uniform(0.1, 1, size=20_000)
    squared = np.square(sigma * generator.normal(size=20_000))
    predicted = calibrate(sigma, squared).apply(torch.from_numpy(sigma)).square().mean()
    assert predicted.item() == pytest.approx(squared.mean(), rel=0.01)


def test_calibration_by_hand_and_between_knots():
    fitted = Calibration((1.0, 3.0), (4.0, 16.0))
    expected = [2.0, 2.0, 10**0.5, 4.0, 4.0]
    torch.testing.assert_close(fitted.apply(torch.tensor([0.0, 1.0, 2.0, 3.0, 9.0])), torch.tensor(expected))
    assert fitted.apply(torch.tensor([[torch.nan]])).isnan().all()


def test_equal_disagreement_everywhere_gives_one_error():
    squared = np.linspace(0, 2, 100)
    fitted = calibrate(np.full(100, 0.25), squared)
    assert fitted.disagreement == (0.25,)
    assert fitted.squared_error == pytest.approx((1.0,))
    torch.testing.assert_close(fitted.apply(torch.tensor([0.0, 0.25, 7.0])), torch.ones(3))


def test_calibration_survives_plain_data():
    generator = np.random.default_rng(3)
    fitted = calibrate(generator.random(500), generator.random(500))
    assert Calibration.from_plain(json.loads(json.dumps(fitted.to_plain()))) == fitted


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"disagreement": [1.0]}, "KeyError"),
        ({"disagreement": 1.0, "squared_error": 1.0}, "TypeError"),
        ({"disagreement": [], "squared_error": []}, "as many of both"),
        ({"disagreement": [1.0, 1.0], "squared_error": [1.0, 2.0]}, "ascending"),
        ({"disagreement": [1.0, 2.0], "squared_error": [2.0, 1.0]}, "ascending"),
        ({"disagreement": [1.0, float("nan")], "squared_error": [1.0, 2.0]}, "finite"),
    ],
)
def test_plain_data_that_is_no_calibration_is_refused(plain, message):
    with pytest.raises(ValueError, match=message):
        Calibration.from_plain(plain)


def test_pixels_that_cannot_calibrate_are_refused():
    good = np.linspace(0, 1, 100)
    with pytest.raises(ValueError, match=r"of 63 pixels .* at least 64"):
        calibrate(good[:63], good[:63])
    with pytest.raises(ValueError, match="as many"):
        calibrate(good, good[:90])
    for value in (np.nan, -1.0):
        bad = np.append(good, value)
        with pytest.raises(ValueError, match="disagreement of 1 of 101"):
            calibrate(bad, np.append(good, 0))
        with pytest.raises(ValueError, match="squared error of 1 of 101"):
            calibrate(np.append(good, 0), bad)


# --- sparsification


def test_curves_and_areas_by_hand():
    curves = sparsification(np.array([1.0, 4.0, 2.0, 9.0]), np.array([0.1, 0.2, 0.3, 0.4]), (0.0, 0.25, 0.5, 0.75))
    np.testing.assert_allclose(curves.by_uncertainty, [4.0, 7 / 3, 2.5, 1.0])
    np.testing.assert_allclose(curves.by_error, [4.0, 7 / 3, 1.5, 1.0])
    np.testing.assert_allclose(curves.at_random, [4.0] * 4)
    assert curves.ause == pytest.approx(0.25)
    assert curves.aurg == pytest.approx(0.25 * (5 / 3 / 2 + (5 / 3 + 1.5) / 2 + (1.5 + 3.0) / 2))
    rooted = sparsification(np.array([1.0, 4.0, 2.0, 9.0]), np.array([0.1, 0.2, 0.3, 0.4]), (0.0, 0.5), root=True)
    assert rooted.ause == pytest.approx(0.25 * (2.5**0.5 - 1.5**0.5))


def slow_curve(error, uncertainty):
    order = np.argsort(uncertainty, kind="stable")
    return [error[order[: len(error) - int(round(share * len(error), 6))]].mean() for share in FRACTIONS]


def test_curves_equal_a_slow_loop():
    generator = np.random.default_rng(0)
    for count in (1, 7, 50, 1003):
        error, uncertainty = generator.random(count), generator.random(count)
        curves = sparsification(error, uncertainty)
        np.testing.assert_allclose(curves.by_uncertainty, slow_curve(error, uncertainty), rtol=1e-12)
        np.testing.assert_allclose(curves.by_error, slow_curve(error, error), rtol=1e-12)


def test_pixels_equally_uncertain_are_taken_in_no_order():
    error = np.array([0.0, 0.0, 8.0, 8.0, 1.0])
    for order in ([0, 1, 2, 3, 4], [3, 2, 1, 0, 4]):
        curves = sparsification(error[order], np.array([1.0, 1.0, 1.0, 1.0, 0.0]), (0.0, 0.2, 0.4, 0.6))
        np.testing.assert_allclose(curves.by_uncertainty, [17 / 5, 13 / 4, 9 / 3, 5 / 2])


def test_the_true_error_is_a_perfect_uncertainty():
    predicted, target, valid, _ = maps()
    scores = areas(predicted, target, valid, uncertainty=(predicted - target).abs())
    assert scores["ause_rmse"].abs().max() < 1e-12
    assert scores["ause_abs_rel"].min() > 0.001  # the same map ranks metres, not relative error
    relative = areas(predicted, target, valid, uncertainty=(predicted / target - 1).abs())
    assert relative["ause_abs_rel"].abs().max() < 1e-12
    assert min(scores["aurg_rmse"].min(), relative["aurg_abs_rel"].min()) > 0.01


def test_an_uncertainty_that_knows_nothing_gains_nothing():
    predicted, target, valid, spread = maps(size=(200, 200))
    noise = torch.rand(target.shape, generator=torch.Generator().manual_seed(9))
    constant = areas(predicted, target, valid, uncertainty=torch.ones_like(target))
    random = areas(predicted, target, valid, uncertainty=noise)
    informed = areas(predicted, target, valid, uncertainty=spread * target)
    for name in ("rmse", "abs_rel"):
        assert constant[f"aurg_{name}"].abs().max() < 1e-12
        assert (random[f"aurg_{name}"].abs() < 0.05 * informed[f"aurg_{name}"]).all()
        assert (informed[f"ause_{name}"] < random[f"ause_{name}"]).all()
    misleading = areas(predicted, target, valid, uncertainty=-spread * target)
    assert (misleading["aurg_rmse"] < -0.05).all()


def test_only_the_order_of_the_uncertainty_counts():
    predicted, target, valid, spread = maps()
    one = areas(predicted, target, valid, uncertainty=spread)
    other = areas(predicted, target, valid, uncertainty=(1 + spread).log())
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_invalid_pixels_are_never_read():
    predicted, target, valid, spread = maps()
    clean = areas(predicted, target, valid, uncertainty=spread)
    predicted, target, spread = (poisoned(each, valid) for each in (predicted, target, spread))
    dirty = areas(predicted, target, valid, uncertainty=spread)
    assert all(torch.equal(clean[name], dirty[name]) for name in clean)


def test_an_image_without_valid_pixels_has_no_curves():
    predicted, target, valid, spread = maps()
    with pytest.raises(ValueError, match=r"errors of 0 pixels .* leave out images without valid pixels"):
        sparsification_curves(predicted[0], target[0], torch.zeros_like(valid[0]), uncertainty=spread[0])


def test_what_cannot_be_ranked_is_refused():
    good = np.linspace(0, 1, 10)
    with pytest.raises(ValueError, match="errors of 0 pixels"):
        sparsification(good[:0], good[:0])
    with pytest.raises(ValueError, match="errors of 10 pixels and uncertainty of 9"):
        sparsification(good, good[:9])
    with pytest.raises(ValueError, match="error of 1 of 10 valid pixels is negative, NaN"):
        sparsification(np.append(good[:9], np.nan), good)
    with pytest.raises(ValueError, match="uncertainty of 1 of 10"):
        sparsification(good, np.append(good[:9], np.inf))
    for fractions in ((), (0.5, 0.2), (0.0, 1.0), (-0.1, 0.5)):
        with pytest.raises(ValueError, match="expected ascending shares"):
            sparsification(good, good, fractions)


# --- reliability


def test_reliability_by_hand():
    reliability = Reliability()
    sigma = row(0.11, 0.12, 2.0, 5.0)
    reliability.add(row(1.1, 1.0, 4.0, 1.0), row(1.0, 1.3, 3.0, 9.0), row(True, True, True, False), sigma=sigma)
    near, far = reliability.diagram()
    assert near == pytest.approx((2, ((0.11**2 + 0.12**2) / 2) ** 0.5, ((0.01 + 0.09) / 2) ** 0.5), rel=1e-6)
    assert far == pytest.approx((1, 2.0, 1.0))
    expected = (2 * (near.observed / near.predicted - 1) + 0.5) / 3
    assert reliability.calibration_error() == pytest.approx(expected)


def test_images_one_by_one_give_the_same_as_together_and_invalid_pixels_are_never_read():
    predicted, target, valid, spread = maps(images=3)
    together, apart = Reliability(), Reliability()
    together.add(predicted, target, valid, sigma=spread)
    predicted, target, spread = (poisoned(each, valid) for each in (predicted, target, spread))
    for image in range(3):
        one = slice(image, image + 1)
        apart.add(predicted[one], target[one], valid[one], sigma=spread[one])
    for each, other in zip(together.diagram(), apart.diagram(), strict=True):
        assert each == pytest.approx(other)
    assert sum(each.pixels for each in together.diagram()) == int(valid.sum())


def test_the_true_spread_is_reliable_and_half_of_it_is_not():
    generator = torch.Generator().manual_seed(3)
    sigma = 10 ** (2 * torch.rand(1, 1, 300, 400, generator=generator) - 2)
    target = torch.full_like(sigma, 5.0)
    predicted = target + sigma * torch.randn(sigma.shape, generator=generator)
    errors = []
    for factor in (1.0, 0.5, 2.0):
        reliability = Reliability()
        reliability.add(predicted, target, torch.ones_like(sigma, dtype=torch.bool), sigma=factor * sigma)
        errors.append(reliability.calibration_error())
    assert errors == pytest.approx([0.0, 1.0, 0.5], abs=0.03)


def test_calibration_makes_disagreement_reliable():
    predicted, target, valid, spread = maps(images=4, size=(60, 80))
    raw = 3 * spread
    fitted = calibrate(raw[valid].numpy(), (predicted - target)[valid].square().numpy())
    before, after = Reliability(), Reliability()
    before.add(predicted, target, valid, sigma=raw)
    after.add(predicted, target, valid, sigma=fitted.apply(raw))
    assert after.calibration_error() < 0.1 < before.calibration_error()


def test_predictions_beyond_the_bins_are_counted():
    reliability = Reliability()
    reliability.add(row(1.0, 1.0, 9.0), row(1.0, 1.0, 1.0), row(True, True, True), sigma=row(0.0, 0.0001, 40.0))
    assert [each.pixels for each in reliability.diagram()] == [2, 1]


def test_what_has_no_calibration_error_is_refused():
    reliability = Reliability()
    with pytest.raises(ValueError, match="no valid pixel was added"):
        reliability.calibration_error()
    for value in (torch.nan, -1.0):
        with pytest.raises(ValueError, match="sigma of 1 of 1 valid pixels"):
            reliability.add(row(1.0), row(1.0), row(True), sigma=row(value))
    with pytest.raises(ValueError, match="squared error of 1 of 1"):
        reliability.add(row(torch.nan), row(1.0), row(True), sigma=row(1.0))
    assert reliability.diagram() == []
    reliability.add(row(1.0), row(1.0), row(True), sigma=row(0.0))
    assert reliability.calibration_error() == 0.0
    reliability.add(row(1.0), row(1.5), row(True), sigma=row(0.0))
    with pytest.raises(ValueError, match=r"predicted error 0 m but observed 0\.354 m"):
        reliability.calibration_error()


def test_a_calibration_that_is_exported_finds_the_same_knots(monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(0)
    for count in (1, 2, 3, 7, 8, 63, 64):
        knots = torch.rand(count, generator=generator, dtype=torch.float64).cumsum(0)
        errors = torch.rand(count, generator=generator, dtype=torch.float64).cumsum(0)
        calibration = Calibration(tuple(knots.tolist()), tuple(errors.tolist()))
        values = torch.cat([knots, knots + 1e-9, knots.max() * 1.2 * torch.rand(200, generator=generator).double()])
        expected = calibration.apply(values)
        with monkeypatch.context() as exporting:
            exporting.setattr(torch.compiler, "is_exporting", lambda: True)
            assert torch.equal(calibration.apply(values), expected)
