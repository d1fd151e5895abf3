"""Fusion: what holds for any learners, weights and combiners."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meta.fusion import (
    COMBINERS,
    MIN_DEPTH,
    check_depths,
    check_weights,
    fuse,
    log_mean_depth,
    mean_depth,
    median_depth,
    split_maps,
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


@given(seeds, counts)
def test_softmax_weights_of_logs_lie_between_the_learners_and_return_identical_ones(seed, learners):
    weights, depths = sample(seed, learners)
    assert_within(fuse(weights, depths, space="log"), depths)
    same = depths[:, :1].expand(-1, learners, -1, -1)
    torch.testing.assert_close(fuse(weights, same, space="log"), depths[:, :1], rtol=1e-6, atol=1e-6)
    equal = torch.zeros_like(depths).softmax(dim=1)
    torch.testing.assert_close(fuse(equal, depths, space="log"), log_mean_depth(depths), rtol=1e-6, atol=1e-6)


@given(seeds, st.integers(2, 6), st.sampled_from(["depth", "log"]), st.randoms(use_true_random=False))
def test_permuting_free_weights_with_their_learners_changes_nothing(seed, learners, space, random):
    weights, depths = sample(seed, learners)
    weights = 2 * weights - 0.3
    order = list(range(learners))
    random.shuffle(order)
    moved = fuse(weights[:, order], depths[:, order], space=space)
    torch.testing.assert_close(moved, fuse(weights, depths, space=space), rtol=1e-5, atol=1e-5)


@given(seeds, counts, st.sampled_from(["depth", "log"]))
def test_any_real_weights_give_positive_finite_depth(seed, learners, space):
    weights, depths = sample(seed, learners)
    bias = 3 * torch.randn(2, 1, 3, 4, generator=torch.Generator().manual_seed(seed))
    fused = fuse(4 * weights - 2, depths, bias=bias, space=space)
    assert torch.isfinite(fused).all()
    assert (fused >= MIN_DEPTH).all()


def test_fusion_by_hand():
    depths = torch.tensor([1.0, 4.0]).view(1, 2, 1, 1)
    half = torch.full_like(depths, 0.5)
    correction = torch.full((1, 1, 1, 1), 0.25)
    assert fuse(half, depths).item() == 2.5
    assert fuse(half, depths, bias=correction).item() == 2.75
    assert fuse(half, depths, space="log").item() == pytest.approx(2.0)
    assert fuse(half, depths, bias=correction, space="log").item() == pytest.approx(2 * 2.718281828**0.25)
    assert fuse(half, depths, bias=-10 * correction).item() == pytest.approx(MIN_DEPTH)
    assert fuse(half, depths, bias=-100 * correction, space="log").item() == pytest.approx(MIN_DEPTH)
    assert fuse(1.2 * half, depths).item() == pytest.approx(3.0)  # free weights can scale all learners


@pytest.mark.parametrize("space", ["depth", "log"])
def test_nan_passes_through_every_fusion(space):
    weights, depths = sample(0, 3)
    depths[1, 2, 0, :2] = float("nan")
    fused = fuse(weights, depths, space=space)
    assert torch.isnan(fused).sum() == 2
    correction = torch.zeros(2, 1, 3, 4)
    correction[0, 0, 0, 0] = float("nan")
    assert torch.isnan(fuse(weights, depths, bias=correction, space=space)).sum() == 3


def test_a_depth_of_zero_leaves_the_gradient_of_logs_finite():
    weights, depths = sample(0, 3)
    depths[0, 1, 0, 0] = 0.0
    weights.requires_grad_()
    fuse(weights, depths, space="log").sum().backward()
    assert torch.isfinite(weights.grad).all()
    assert weights.grad.abs().sum() > 0


def test_maps_are_weights_and_at_most_one_correction():
    maps, _ = sample(0, 4)
    weights, bias = split_maps(maps, 4)
    assert torch.equal(weights, maps)
    assert bias is None
    weights, bias = split_maps(maps, 3)
    assert torch.equal(weights, maps[:, :3])
    assert torch.equal(bias, maps[:, 3:])
    for learners in (2, 5):
        with pytest.raises(ValueError, match=f"found 4 maps, expected {learners} weights and at most one correction"):
            split_maps(maps, learners)


def test_weights_are_checked_by_their_kind():
    weights, _ = sample(0, 3)
    correction = torch.randn(2, 1, 3, 4)
    check_weights(weights, bias=correction, kind="correct")
    check_weights(-2 * weights, kind="free")
    for kind in ("softmax", "correct"):
        with pytest.raises(ValueError, match="miss the sum 1"):
            check_weights(2 * weights, kind=kind)
    correction[0, 0, 0, :2] = float("inf")
    with pytest.raises(ValueError, match="2 corrections are not finite"):
        check_weights(weights, bias=correction, kind="correct")
    weights[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="1 weights are not finite"):
        check_weights(weights, kind="free")


def test_unknown_kinds_and_spaces_are_refused():
    weights, depths = sample(0, 3)
    with pytest.raises(ValueError, match=r"'soft' are unknown, expected one of softmax, correct, free"):
        check_weights(weights, kind="soft")
    with pytest.raises(ValueError, match="'logs' is unknown, expected one of depth, log"):
        fuse(weights, depths, space="logs")
