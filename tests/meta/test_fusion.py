"""Fusion: what holds for any learners, weights and combiners."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meta.fusion import (
    COMBINERS,
    check_depths,
    check_weights,
    fuse,
    log_mean_depth,
    mean_depth,
    median_depth,
    oracle_convex,
    oracle_pick,
)

seeds = st.integers(0, 10_000)
counts = st.integers(1, 6)


def sample(seed, learners):
    generator = torch.Generator().manual_seed(seed)
    depths = 0.1 + 9.9 * torch.rand(2, learners, 3, 4, generator=generator)
    weights = (4 * torch.randn(2, learners, 3, 4, generator=generator)).softmax(dim=1)
    return weights, depths


def assert_within(depth, depths):
    assert (depth >= depths.amin(1, keepdim=True) - 1e-5).all()
    assert (depth <= depths.amax(1, keepdim=True) + 1e-5).all()


@given(seeds, counts)
def test_softmax_weights_pass_and_the_result_lies_between_the_learners(seed, learners):
    weights, depths = sample(seed, learners)
    check_weights(weights)
    assert_within(fuse(weights, depths), depths)
    for combine in COMBINERS.values():
        assert_within(combine(depths), depths)


@given(seeds, counts)
def test_identical_learners_are_returned_as_they_are(seed, learners):
    weights, depths = sample(seed, learners)
    same = depths[:, :1].expand(-1, learners, -1, -1)
    torch.testing.assert_close(fuse(weights, same), depths[:, :1], rtol=1e-6, atol=0)
    for combine in COMBINERS.values():
        torch.testing.assert_close(combine(same), depths[:, :1], rtol=1e-6, atol=0)


@given(seeds, st.integers(2, 6), st.randoms(use_true_random=False))
def test_permuting_learners_and_weights_together_changes_nothing(seed, learners, random):
    weights, depths = sample(seed, learners)
    order = list(range(learners))
    random.shuffle(order)
    torch.testing.assert_close(fuse(weights[:, order], depths[:, order]), fuse(weights, depths), rtol=1e-6, atol=0)
    for combine in COMBINERS.values():
        torch.testing.assert_close(combine(depths[:, order]), combine(depths), rtol=1e-6, atol=0)


@given(seeds, counts)
def test_equal_weights_are_the_mean(seed, learners):
    _, depths = sample(seed, learners)
    equal = torch.zeros_like(depths).softmax(dim=1)
    torch.testing.assert_close(fuse(equal, depths), mean_depth(depths), rtol=1e-6, atol=0)


def test_combiners_by_hand():
    depths = torch.tensor([1.0, 8.0, 3.0]).view(1, 3, 1, 1)
    assert mean_depth(depths).item() == 4.0
    assert median_depth(depths).item() == 3.0
    assert median_depth(torch.tensor([1.0, 8.0, 3.0, 2.0]).view(1, 4, 1, 1)).item() == 2.5
    assert log_mean_depth(depths).item() == pytest.approx(24 ** (1 / 3))


def test_oracles_by_hand_and_without_measurements():
    depths = torch.tensor([1.0, 1.0, 1.0, 3.0, 3.0, 3.0]).view(1, 2, 1, 3)
    target = torch.tensor([1.8, 5.0, float("nan")]).view(1, 1, 1, 3)
    valid = torch.isfinite(target)
    assert oracle_pick(depths, target, valid).flatten().tolist() == [1.0, 3.0, 2.0]
    assert oracle_convex(depths, target, valid).flatten().tolist() == pytest.approx([1.8, 3.0, 2.0])


@given(seeds, counts)
def test_no_weights_beat_the_convex_oracle(seed, learners):
    weights, depths = sample(seed, learners)
    target = 10 * torch.rand(2, 1, 3, 4, generator=torch.Generator().manual_seed(seed + 1))
    valid = target > 0.5
    best = (oracle_convex(depths, target, valid) - target).abs()[valid]
    for other in (fuse(weights, depths), oracle_pick(depths, target, valid), mean_depth(depths)):
        assert ((other - target).abs()[valid] >= best - 1e-5).all()


@pytest.mark.parametrize("fault", [float("nan"), float("inf")])
def test_a_learner_that_is_not_finite_is_named(fault):
    _, depths = sample(0, 3)
    check_depths(depths)
    depths[1, 2, 0, :2] = fault
    with pytest.raises(ValueError, match="learner ldrn: 2 of 24 pixels are not finite"):
        check_depths(depths, ["adabins", "bts", "ldrn"])
    with pytest.raises(ValueError, match="learner 2: 2 of 24 pixels"):
        check_depths(depths)
    assert not torch.isfinite(fuse(torch.full_like(depths, 1 / 3), depths)[1, 0, 0, :2]).any()  # never repaired


def test_bad_weights_are_refused():
    weights, _ = sample(0, 3)
    with pytest.raises(ValueError, match="miss the sum 1"):
        check_weights(weights * 1.001)
    weights[0, 0, 0, 0] = -0.1
    with pytest.raises(ValueError, match="1 weights are negative or NaN"):
        check_weights(weights)
    weights[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="1 weights are negative or NaN"):
        check_weights(weights)
