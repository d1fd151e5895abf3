"""Fitted combiners: they recover known weights, equal independent solvers, and follow the learners' order."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, nnls

from meta.combiners import (
    FITTED_COMBINERS,
    ConstantWeights,
    RangeWeights,
    convex_weights,
    depth_range,
    inverse_variance,
    log_moments,
    weighted_log_mean,
)
from meta.fusion import MIN_DEPTH, check_weights, mean_depth

every_combiner = pytest.mark.parametrize("fit", FITTED_COMBINERS.values(), ids=FITTED_COMBINERS)


def pixels(seed=0, *, count=4000, noise=(0.05, 0.1, 0.2)):
    """Truth between 0.5 and 9.5 m, and learners with relative noise around it."""
    generator = np.random.default_rng(seed)
    target = generator.uniform(0.5, 9.5, size=count)
    errors = generator.normal(size=(count, len(noise))) * np.array(noise)
    return target[:, None] * np.exp(errors), target


def as_maps(depths, *, dtype=torch.float64):
    """Rows of pixels as maps ``1 k n 1``."""
    return torch.from_numpy(depths.T[None, :, :, None]).to(dtype)


def combined(combiner, depths):
    return combiner.combine(as_maps(depths)).flatten().numpy()


def relative_error(depth, target):
    return np.square(depth / target - 1).mean()


def relative_unit(depths):
    """The learners' mean, but no less than a tenth of its median."""
    mean = depths.mean(axis=1)
    return np.maximum(mean, np.median(mean) / 10)


def test_inverse_variance_by_hand():
    target = np.tile([1.0, 2.0], 50)
    depths = np.stack([target + 0.1, target * 1.2], axis=1)
    metres = inverse_variance(depths, target, weighting="metres").weights  # squared errors 0.01 and (0.04 + 0.16) / 2
    assert metres == pytest.approx((10 / 11, 1 / 11))
    relative = inverse_variance(depths, target).weights  # (0.01 + 0.0025) / 2 and 0.04
    assert relative == pytest.approx((0.04 / 0.04625, 0.00625 / 0.04625))


def test_the_weighted_log_mean_recovers_planted_weights():
    depths, _ = pixels()
    planted = np.array([0.3, 0.0, 0.7])
    fitted = weighted_log_mean(depths, np.exp(np.log(depths) @ planted))
    assert fitted.weights == pytest.approx(tuple(planted), abs=1e-7)
    assert fitted.space == "log"
    np.testing.assert_allclose(combined(fitted, depths), np.exp(np.log(depths) @ planted), rtol=1e-6)


def test_the_weighted_log_mean_follows_the_precision_of_learners_that_err_independently():
    depths, target = pixels(count=200_000)
    precision = 1 / np.square([0.05, 0.1, 0.2])
    assert weighted_log_mean(depths, target).weights == pytest.approx(tuple(precision / precision.sum()), abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_the_weighted_log_mean_equals_a_constrained_solver(seed):
    """Learners that share errors and are wrong in scale: of five, some get nothing."""
    generator = np.random.default_rng(seed)
    target = generator.uniform(0.5, 9.5, size=3000)
    mixed = generator.normal(size=(3000, 5)) @ generator.normal(size=(5, 5)) * 0.1 + generator.normal(0, 0.1, 5)
    depths = target[:, None] * np.exp(mixed)
    fitted = np.array(weighted_log_mean(depths, target).weights)
    assert fitted.sum() == pytest.approx(1, abs=1e-12)
    assert (fitted >= 0).all()

    def error(weights):
        return np.square(mixed @ weights).mean()

    sum_is_one = {"type": "eq", "fun": lambda weights: weights.sum() - 1}
    equal = np.full(5, 0.2)
    found = minimize(error, equal, bounds=[(0, 1)] * 5, constraints=sum_is_one, method="SLSQP", options={"ftol": 1e-14})
    assert error(fitted) <= found.fun + 1e-9
    np.testing.assert_allclose(fitted, found.x, atol=1e-3)


def test_the_weighted_log_mean_of_one_learner_is_that_learner():
    depths, target = pixels(noise=(0.1,))
    assert weighted_log_mean(1.2 * depths, target).weights == (1.0,)


def test_moments_of_images_are_averaged_with_the_say_of_each():
    depths, target = pixels(count=3000)
    parts = [log_moments(depths[part], target[part]) for part in (slice(0, 1000), slice(1000, 2000), slice(2000, 3000))]
    np.testing.assert_allclose(np.mean(parts, axis=0), log_moments(depths, target), rtol=1e-10)
    weights = convex_weights(np.mean(parts, axis=0))
    assert tuple(weights) == pytest.approx(weighted_log_mean(depths, target).weights, abs=1e-9)
    errors = np.log(depths / target[:, None])
    assert weights @ np.mean(parts, axis=0) @ weights == pytest.approx(np.square(errors @ weights).mean())
    none = log_moments(np.zeros((2, 1)), np.ones(2))  # as in the fusion, no depth is below the least
    assert none.item() == pytest.approx(np.log(MIN_DEPTH) ** 2)


@pytest.mark.parametrize("weighting", ["relative", "metres"])
def test_one_range_equals_scipy(weighting):
    depths, target = pixels(noise=(0.05, 0.1, 0.2, 0.4))
    unit = relative_unit(depths) if weighting == "relative" else np.ones_like(target)
    expected, _ = nnls(depths / unit[:, None], target / unit)
    if weighting == "relative":
        expected *= np.exp(np.log(target / (depths @ expected)).mean())
    one_range = depth_range(depths, target, ranges=1, weighting=weighting)
    assert one_range.weights[0] == pytest.approx(tuple(expected), abs=1e-9)


def test_each_weighting_is_best_at_its_own_error():
    depths, target = pixels(noise=(0.1, 0.2, 0.3))
    depths[:, 0] += 0.15  # a constant offset hurts near pixels in relative error, and hardly in metres
    relative, metres = (depth_range(depths, target, weighting=each) for each in ("relative", "metres"))
    of_relative, of_metres = combined(relative, depths), combined(metres, depths)
    assert relative_error(of_relative, target) < relative_error(of_metres, target)
    assert np.square(of_metres - target).mean() < np.square(of_relative - target).mean()


@pytest.mark.parametrize("fit", [weighted_log_mean, depth_range])
def test_errors_that_mean_nothing_do_not_move_the_scale(fit):
    """Learners that share errors, right on average in logs: least squares alone would scale them up by 3 to 5 %."""
    generator = np.random.default_rng(3)
    target = generator.uniform(0.5, 9.5, size=40_000)
    depths = target[:, None] * np.exp(generator.normal(0, 0.25, (40_000, 1)) + generator.normal(0, 0.1, (40_000, 3)))
    depth = combined(fit(depths, target), depths)
    assert np.log(depth / target).mean() == pytest.approx(0, abs=1e-9 if fit is depth_range else 0.005)
    assert np.abs(depth / target - 1).mean() < np.abs(depths.mean(axis=1) / target - 1).mean() * 1.005


@pytest.mark.parametrize("fit", [weighted_log_mean, depth_range])
def test_one_pixel_where_all_say_nearly_nothing_does_not_choose_the_weights(fit):
    depths, target = pixels(noise=(0.1, 0.1))
    before = fit(depths, target).weigh(as_maps(depths))
    depths[7] = 1e-3, 2e-3
    torch.testing.assert_close(fit(depths, target).weigh(as_maps(depths)), before, rtol=0, atol=0.1)


def test_a_single_learner_is_scaled_by_ranges():
    depths, target = pixels(noise=(0.1,))
    scaled = combined(depth_range(1.2 * depths, target), 1.2 * depths)
    assert np.log(scaled / target).mean() == pytest.approx(0, abs=1e-9)


def test_depth_range_recovers_weights_between_the_centres():
    depths, target = pixels(count=6000)
    known = RangeWeights(
        depth_range(depths, target, ranges=3).centres, ((1.0, 0, 0), (0, 0.6, 0.3), (0.2, 0, 0.9)), "metres"
    )
    fitted = depth_range(depths, combined(known, depths), ranges=3)
    assert fitted.centres == known.centres
    np.testing.assert_allclose(fitted.weights, known.weights, atol=1e-8)


def test_depth_range_equals_scipy_on_a_basis_written_separately():
    depths, target = pixels()
    fitted, mean = depth_range(depths, target, ranges=5), depths.mean(axis=1)
    ordered = np.sort(mean)
    assert fitted.centres == pytest.approx([part.mean() for part in np.split(ordered, 5)], rel=1e-3)
    hats = np.stack([np.interp(mean, fitted.centres, one) for one in np.eye(5)], axis=1)
    columns = np.concatenate([hats[:, [index]] * depths for index in range(5)], axis=1)
    unit = relative_unit(depths)
    expected, _ = nnls(columns / unit[:, None], target / unit)
    expected *= np.exp(np.log(target / (columns @ expected)).mean())
    np.testing.assert_allclose(np.concatenate(fitted.weights), expected, atol=1e-7)


def test_depth_range_uses_each_learner_where_it_is_good():
    depths, target = pixels(noise=(0.1, 0.1))
    near = target < 5
    depths[near, 0] = target[near]
    depths[~near, 1] = target[~near]
    fitted = depth_range(depths, target)
    assert fitted.weights[0] == pytest.approx((1.0, 0.0), abs=0.02)
    assert fitted.weights[-1] == pytest.approx((0.0, 1.0), abs=0.02)
    by_range = relative_error(combined(fitted, depths), target)
    assert by_range < 0.5 * relative_error(combined(weighted_log_mean(depths, target), depths), target)


@every_combiner
def test_a_perfect_learner_gets_all_weight(fit):
    depths, target = pixels()
    depths[:, 1] = target
    combiner = fit(depths, target)
    np.testing.assert_allclose(combiner.weigh(as_maps(depths))[0, 1], 1.0, atol=1e-6)
    np.testing.assert_allclose(combined(combiner, depths), target, rtol=1e-6)


@every_combiner
def test_identical_learners_count_as_one(fit):
    depths, target = pixels()
    same = np.repeat(depths[:, :1], 3, axis=1)
    combiner = fit(same, target)
    ratio = combined(combiner, same) / mean_depth(as_maps(same)).flatten().numpy()
    if fit is not depth_range:
        np.testing.assert_allclose(ratio, 1.0, rtol=1e-12)
    else:
        assert np.log(combined(combiner, same) / target).mean() == pytest.approx(0, abs=1e-9)
        assert 0.95 < ratio.min() <= ratio.max() < 1.05


@every_combiner
def test_identical_perfect_learners_are_returned_as_they_are(fit):
    _, target = pixels()
    same = np.stack([target, target], axis=1)
    np.testing.assert_allclose(combined(fit(same, target), same), target, rtol=1e-9)


@every_combiner
def test_permuted_learners_permute_the_weights(fit):
    depths, target = pixels()
    order = [2, 0, 1]
    weights = fit(depths, target).weigh(as_maps(depths))
    permuted = fit(depths[:, order], target).weigh(as_maps(depths[:, order]))
    torch.testing.assert_close(permuted, weights[:, order], rtol=0, atol=1e-8)


@every_combiner
def test_order_of_pixels_does_not_matter(fit):
    depths, target = pixels()
    order = np.random.default_rng(1).permutation(len(target))
    shuffled = fit(depths[order], target[order]).weigh(as_maps(depths))
    torch.testing.assert_close(shuffled, fit(depths, target).weigh(as_maps(depths)), rtol=0, atol=1e-8)


@every_combiner
def test_weights_are_never_negative_and_depth_is_positive(fit):
    depths, target = pixels(noise=(0.05, 0.1, 0.3))
    depths[:, 2] = 10 - depths[:, 2].clip(max=9.9)  # a learner that would get a negative weight
    combiner = fit(depths, target)
    maps = as_maps(np.random.default_rng(2).uniform(0.01, 12, size=(5000, 3)), dtype=torch.float32)
    assert (combiner.weigh(maps) >= 0).all()
    assert (combiner.combine(maps) > 0).all()


@pytest.mark.parametrize("fit", [inverse_variance, weighted_log_mean])
def test_weights_of_sum_one_pass_as_weights(fit):
    depths, target = pixels()
    check_weights(fit(depths, target).weigh(as_maps(depths, dtype=torch.float32)))


def test_weights_of_ranges_have_no_jump():
    depths, target = pixels(noise=(0.05, 0.3))
    fitted = depth_range(depths, target)
    steps = torch.linspace(0.01, 12, 20_001, dtype=torch.float64)
    weights = fitted.weigh(steps.view(1, 1, -1, 1).expand(1, 2, -1, 1))
    slopes = np.abs(np.diff(fitted.weights, axis=0)) / np.diff(fitted.centres)[:, None]
    assert weights.diff(dim=2).abs().max() <= slopes.max() * (steps[1] - steps[0]) * (1 + 1e-9)
    for index in range(2):
        expected = np.interp(steps, fitted.centres, [row[index] for row in fitted.weights])
        np.testing.assert_allclose(weights[0, index, :, 0], expected, atol=1e-12)


def test_ranges_with_few_pixels_are_merged():
    depths, target = pixels(count=120, noise=(0.1, 0.1))
    assert len(depth_range(depths, target).centres) == 2
    same_depth = np.full((200, 2), 3.0)
    assert depth_range(same_depth, np.full(200, 3.0)).centres == (3.0,)
    near, far = np.linspace(1, 2.9, 520), np.linspace(3.1, 9, 480)
    mostly = np.concatenate([near, np.full(3000, 3.0), far])  # between the first quantile and 3 m lie 20 pixels only
    fitted = depth_range(np.stack([mostly, mostly], axis=1), mostly)
    assert fitted.centres == pytest.approx((near[:500].mean(), mostly[500:].mean()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantWeights((1.0, -0.5)), "0 or more"),
        (lambda: ConstantWeights((1.0, float("nan"))), "0 or more"),
        (lambda: RangeWeights((1.0, 2.0), ((1.0, 0.0), (1.0,)), "metres"), "same learners"),
        (lambda: RangeWeights((2.0, 1.0), ((1.0, 0.0), (0.0, 1.0)), "metres"), "ascending"),
    ],
)
def test_numbers_that_are_no_weights_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def changed(values, position, value):
    values = values.copy()
    values[position] = value
    return values


@every_combiner
def test_pixels_that_cannot_be_fitted_are_refused(fit):
    depths, target = pixels()
    for value in (np.nan, np.inf, -0.5):
        with pytest.raises(ValueError, match="1 of 4000 depths are negative, NaN or infinite for learner 1"):
            fit(changed(depths, (7, 1), value), target)
        with pytest.raises(ValueError, match="1 of 4000 true depths"):
            fit(depths, changed(target, 7, value))
    with pytest.raises(ValueError, match="every depth is 0 for learner 2"):
        fit(depths * np.array([1.0, 1.0, 0.0]), target)
    with pytest.raises(ValueError, match="0 learners, expected at least 1"):
        fit(depths[:, :0], target)
    with pytest.raises(ValueError, match="74 pixels for 3 learners, expected at least 75"):
        fit(depths[:74], target[:74])


def test_other_learners_than_those_of_the_fit_are_refused():
    depths, target = pixels()
    for fit in FITTED_COMBINERS.values():
        with pytest.raises(ValueError, match="depths of 2 learners, but it was fitted on 3"):
            fit(depths, target).combine(as_maps(depths[:, :2]))
    with pytest.raises(ValueError, match="0 ranges"):
        depth_range(depths, target, ranges=0)


def test_a_nan_is_not_repaired():
    depths, target = pixels()
    for fit in FITTED_COMBINERS.values():
        fused = combined(fit(depths, target), changed(depths, (3, 0), np.nan))
        assert np.flatnonzero(np.isnan(fused)).tolist() == [3]


def test_constant_weights_are_kept_as_given():
    maps = torch.tensor([2.0, 4.0]).view(1, 2, 1, 1)
    assert ConstantWeights((0.25, 0.5)).combine(maps).item() == 2.5
    assert ConstantWeights((0.5, 0.5), "log").combine(maps).item() == pytest.approx(8**0.5)
