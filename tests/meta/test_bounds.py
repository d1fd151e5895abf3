"""Bounds: planted weights, scales and slopes come back, holes are not read, and luck is told from knowledge."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meta.bounds import (
    FARTHEST,
    IMAGE_BOUNDS,
    PIXEL_BOUNDS,
    fitted_per_image,
    image_weights,
    oracle_convex,
    oracle_pick,
    scale_and_slope,
    scaled_per_image,
    weighted_per_image,
    with_disagreement_of,
)
from meta.fusion import MIN_DEPTH, fuse, mean_depth

SIZE = (24, 32)
every_bound = pytest.mark.parametrize("bound", [*PIXEL_BOUNDS.values(), *IMAGE_BOUNDS.values()])


def images(seed=0, *, learners=3, count=2, noise=0.2, size=SIZE):
    """Smooth truth of several images, with holes, and learners with independent noise around it."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(*(torch.linspace(0, 1, length, dtype=torch.float64) for length in size), indexing="ij")
    slopes = torch.rand(count, 3, generator=generator, dtype=torch.float64)
    target = torch.stack([1 + a + 3 * b * x + 2 * c * y for a, b, c in slopes])[:, None]
    valid = torch.rand(target.shape, generator=generator) < 0.8
    errors = torch.randn(count, learners, *size, generator=generator, dtype=torch.float64) * noise
    depths = target * errors.exp()
    return depths, target.where(valid, torch.nan), valid


def log_error(depth, target, valid):
    return (depth.log() - target.log())[valid].square().mean().item()


def test_oracles_by_hand_and_without_measurements():
    depths = torch.tensor([1.0, 1.0, 1.0, 3.0, 3.0, 3.0]).view(1, 2, 1, 3)
    target = torch.tensor([1.8, 5.0, float("nan")]).view(1, 1, 1, 3)
    valid = torch.isfinite(target)
    assert oracle_pick(depths, target, valid).flatten().tolist() == [1.0, 3.0, 2.0]
    assert oracle_convex(depths, target, valid).flatten().tolist() == pytest.approx([1.8, 3.0, 2.0])


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_no_weights_beat_the_convex_oracle(seed, learners):
    depths, target, valid = images(seed, learners=learners, size=(3, 4))
    generator = torch.Generator().manual_seed(seed + 1)
    weights = (4 * torch.randn(depths.shape, generator=generator, dtype=torch.float64)).softmax(dim=1)
    best = (oracle_convex(depths, target, valid) - target).abs()[valid]
    for other in (fuse(weights, depths), oracle_pick(depths, target, valid), mean_depth(depths)):
        assert ((other - target).abs()[valid] >= best - 1e-5).all()


@every_bound
def test_what_is_not_valid_is_not_read(bound):
    depths, target, valid = images()
    found = bound(depths, target, valid)
    assert found.isfinite().all()
    torch.testing.assert_close(bound(depths, target.where(valid, 77.0), valid), found, rtol=0, atol=0)


@every_bound
def test_images_do_not_know_each_other(bound):
    depths, target, valid = images(count=3)
    together = bound(depths, target, valid)
    for index in range(3):
        part = slice(index, index + 1)
        torch.testing.assert_close(bound(depths[part], target[part], valid[part]), together[part])


@pytest.mark.parametrize("bound", [oracle_pick, oracle_convex, scaled_per_image, fitted_per_image])
def test_an_image_without_truth_keeps_the_plain_mean(bound):
    depths, target, valid = images()
    nothing = torch.zeros_like(valid)
    torch.testing.assert_close(bound(depths, target, nothing), mean_depth(depths))
    torch.testing.assert_close(image_weights(depths, target, nothing), torch.full((2, 3), 1 / 3, dtype=torch.float64))
    assert [each.tolist() for each in scale_and_slope(mean_depth(depths), target, nothing)] == [[0, 0], [1, 1]]


def test_planted_weights_of_an_image_come_back():
    depths, _, valid = images()
    planted = torch.tensor([[0.2, 0.0, 0.8], [0.5, 0.3, 0.2]], dtype=torch.float64)
    target = fuse(planted[:, :, None, None].expand_as(depths), depths, space="log").where(valid, torch.nan)
    torch.testing.assert_close(image_weights(depths, target, valid), planted, rtol=0, atol=1e-6)
    found = weighted_per_image(depths, target, valid)
    torch.testing.assert_close(found[valid], target[valid], rtol=1e-6, atol=0)


def test_weights_of_an_image_are_the_best_of_a_fine_grid():
    depths, target, valid = images(3, learners=2, noise=0.3)
    best = [log_error(weighted_per_image(depths, target, valid)[i], target[i], valid[i]) for i in range(2)]
    for share in torch.linspace(0, 1, 101, dtype=torch.float64):
        weights = torch.stack([share, 1 - share])[None, :, None, None].expand_as(depths)
        other = fuse(weights, depths, space="log")
        for index in range(2):
            assert log_error(other[index], target[index], valid[index]) >= best[index] - 1e-9


def test_planted_scale_and_slope_of_an_image_come_back():
    depths, _, valid = images()
    scale = torch.tensor([0.2, -0.3], dtype=torch.float64)
    slope = torch.tensor([1.3, 0.7], dtype=torch.float64)
    mean = mean_depth(depths)
    target = (scale[:, None, None, None] + slope[:, None, None, None] * mean.log()).exp().where(valid, torch.nan)
    found = scale_and_slope(mean, target, valid)
    torch.testing.assert_close(found, (scale, slope), rtol=0, atol=1e-6)
    torch.testing.assert_close(fitted_per_image(depths, target, valid)[valid], target[valid], rtol=1e-6, atol=0)
    factor = scale.exp()[:, None, None, None]
    scaled = scaled_per_image(depths, (factor * mean).where(valid, torch.nan), valid)
    torch.testing.assert_close(scaled, factor * mean, rtol=1e-6, atol=0)


def test_a_line_through_equal_depths_is_a_scale():
    flat = torch.full((1, 2, *SIZE), 2.0)
    _, target, valid = images(count=1)
    scale, slope = scale_and_slope(flat[:, :1], target, valid)
    assert slope.item() == 1
    assert scale.item() == pytest.approx((target[valid].log().mean() - np.log(2)).item())
    nearly = flat.clone()
    nearly[..., 0, 0] += 1e-4
    depth = fitted_per_image(nearly, target, valid)
    assert ((depth >= MIN_DEPTH) & (depth <= FARTHEST)).all()


def test_with_its_own_disagreement_an_image_stays_as_it_is():
    depths, _, valid = images()
    torch.testing.assert_close(with_disagreement_of(depths, depths, valid), depths)
    agreeing = mean_depth(depths).expand_as(depths)
    centre = depths.log().mean(dim=1, keepdim=True).exp()
    torch.testing.assert_close(with_disagreement_of(depths, agreeing, valid), centre.expand_as(depths))
    torch.testing.assert_close(with_disagreement_of(agreeing, depths, valid), agreeing)


def test_foreign_disagreement_keeps_the_mean_and_the_amplitude():
    depths, _, valid = images(0)
    others = 7 * images(1, noise=0.9)[0]
    taken = with_disagreement_of(depths, others, valid)
    torch.testing.assert_close(taken.log().mean(dim=1), depths.log().mean(dim=1))
    inside = valid.expand_as(depths)
    for image in range(2):
        spreads = [
            (maps.log() - maps.log().mean(dim=1, keepdim=True))[image][inside[image]].square().mean()
            for maps in (taken, depths)
        ]
        torch.testing.assert_close(*spreads)
    assert (taken - depths).abs().max() > 0.01


def headroom(depths, others, target, valid):
    """Of the convex oracle in REL, with the learners' own disagreement and with that of other images."""
    taken = with_disagreement_of(depths, others, valid)

    def rel(depth):
        return ((depth - target).abs() / target)[valid].mean().item()

    mean = rel(mean_depth(depths))
    return [mean - rel(oracle_convex(maps, target, valid)) for maps in (depths, taken)]


def test_of_learners_that_are_noise_the_head_room_is_luck():
    """It is the same with the disagreement of another image, to 3 %; errors that all share are in neither."""
    depths, target, valid = images(0, count=1, size=(120, 160))
    others = images(1, count=1, size=(120, 160))[0]
    shared = 1 + 0.1 * torch.sin(torch.arange(160) / 9.0)
    own, shuffled = headroom(depths * shared, others, target, valid)
    assert own > 0.05
    assert shuffled == pytest.approx(own, rel=0.03)


def test_of_a_learner_that_is_right_in_a_region_the_head_room_is_knowledge():
    """In one half of each image all learners but the first are too far; the other image's other half says nothing."""
    depths, target, valid = images(0, count=1, size=(120, 160), noise=0.02)
    others = images(1, count=1, size=(120, 160), noise=0.02)[0]
    depths[:, 1:, :60] *= 1.5
    others[:, 1:, 60:] *= 1.5
    own, shuffled = headroom(depths, others, target, valid)
    assert own > 0.15
    assert shuffled < 0.3 * own
