"""How alike learners err: planted correlations and shares come out, holes are not read."""

import numpy as np
import pytest
import torch

from ensemble.evaluation.likeness import LikenessSums
from ensemble.metrics.likeness import correlations, error_parts
from ensemble.metrics.protocols import EvalProtocol

SIZE = (60, 80)
PROTOCOL = EvalProtocol(
    split="test",
    test="held-out",
    crop="none",
    min_depth=1e-3,
    max_depth=10.0,
    flip_averaging=False,
    size=SIZE,
)


def planted(within, scales, *, images, seed=0):
    """Learners' depth [1 k h w], truth and holes of images, with log errors of these covariances."""
    rng = np.random.default_rng(seed)
    learners = len(within)
    for _ in range(images):
        target = rng.uniform(1, 3, SIZE)
        errors = rng.multivariate_normal(np.zeros(learners), within, SIZE)
        scale = rng.multivariate_normal(np.zeros(learners), scales)
        depths = (target[..., None] * np.exp(errors + scale)).transpose(2, 0, 1)
        valid = rng.random(SIZE) < 0.7
        depths[:, ~valid] = np.where(rng.random((~valid).sum()) < 0.5, 0.3, 9.0)
        target[~valid] = np.nan
        yield torch.from_numpy(depths)[None], torch.from_numpy(target)[None, None], torch.from_numpy(valid)[None, None]


def covariance(deviations, correlation):
    return np.outer(deviations, deviations) * correlation


def summed(images, learners=3, protocol=PROTOCOL):
    sums = LikenessSums([f"L{index}" for index in range(learners)], protocol)
    for image in images:
        sums.add(*image)
    return sums.compute()


def test_planted_correlations_and_shares_come_out():
    of_errors = np.array([[1, 0.9, 0.3], [0.9, 1, 0.0], [0.3, 0.0, 1]])
    of_scales = np.array([[1, -0.5, 0.8], [-0.5, 1, 0.0], [0.8, 0.0, 1]])
    within, scales = covariance([0.1, 0.2, 0.1], of_errors), covariance([0.1, 0.1, 0.2], of_scales)
    found = summed(planted(within, scales, images=600))
    assert (found.images, found.learners) == (600, ("L0", "L1", "L2"))
    np.testing.assert_allclose(found.within, of_errors, atol=0.02)
    np.testing.assert_allclose(found.scales, of_scales, atol=0.12)
    np.testing.assert_allclose(found.scale_shares, [0.5, 0.2, 0.8], atol=0.05)


def test_by_hand():
    """Two learners, two pixels: log errors (0.1, 0.3) and (-0.1, 0.1)."""
    target = torch.ones(1, 1, 1, 3, dtype=torch.float64)
    valid = torch.tensor([True, True, False]).view(1, 1, 1, 3)
    predicted = torch.tensor([[0.1, 0.3, 9.0], [-0.1, 0.1, -9.0]], dtype=torch.float64).exp().view(2, 1, 1, 3)
    parts = error_parts(predicted, target.where(valid, torch.nan), valid)
    np.testing.assert_allclose(parts.scales, [0.2, 0.0], atol=1e-12)
    np.testing.assert_allclose(parts.within, np.full((2, 2), 0.01), atol=1e-12)
    means = np.log([(np.exp(0.1) + np.exp(-0.1)) / 2, (np.exp(0.3) + np.exp(0.1)) / 2])
    assert (parts.mean_scale, parts.mean_within) == pytest.approx((means.mean(), means.var()))
    assert parts.disagreement == pytest.approx(0.01)
    assert parts.inside == 0.5


def test_disagreement_is_what_the_log_mean_takes_away():
    """Ambiguity decomposition of Krogh and Vedelsby 1995: error of the mean = mean error - disagreement."""
    images = list(planted(covariance([0.1, 0.2], np.eye(2)), covariance([0.05, 0.05], np.ones((2, 2))), images=20))
    errors = [(depths.log() - target.log())[0][:, valid[0, 0]] for depths, target, valid in images]
    mean_error = np.mean([each.square().mean().item() for each in errors])
    of_mean = np.mean([each.mean(dim=0).square().mean().item() for each in errors])
    found = summed(images, 2)
    assert found.disagreement_share == pytest.approx(1 - of_mean / mean_error, rel=1e-9)
    plain = [((depths.mean(1, keepdim=True).log() - target.log())[valid], valid) for depths, target, valid in images]
    scale = np.mean([each.mean().item() ** 2 for each, _ in plain])
    assert found.mean_scale_share == pytest.approx(scale / np.mean([e.square().mean().item() for e, _ in plain]))


def test_learners_that_err_the_same_are_alike_and_perfect_ones_have_nothing_to_compare():
    (depths, target, valid), *more = planted(covariance([0.1], np.eye(1)), np.eye(1) * 0.01, images=5)
    same = [(each.expand(1, 2, *SIZE), truth, known) for each, truth, known in ((depths, target, valid), *more)]
    found = summed(same, 2)
    np.testing.assert_allclose(found.within, np.ones((2, 2)))
    np.testing.assert_allclose(found.scales, np.ones((2, 2)))
    assert (found.disagreement_share, found.inside) == (0, 0)
    perfect = [(truth.nan_to_num(2.0).expand(1, 2, *SIZE), truth, known) for _, truth, known in same]
    found = summed(perfect, 2)
    assert found.within == found.scales == ((None, None), (None, None))
    assert (found.scale_shares, found.mean_scale_share, found.disagreement_share) == ((None, None), None, None)
    assert found.inside == 1
    assert summed(same[:1], 2).scales == ((None, None), (None, None))  # scales of one image vary with nothing


def test_only_what_the_protocol_scores_counts_and_predictions_are_held_in_its_range():
    images = list(planted(covariance([0.1, 0.2], np.eye(2)), np.eye(2) * 0.01, images=3))
    near = PROTOCOL.model_copy(update={"max_depth": 2.0})
    cut = [(depths.clamp(max=2.0), target, valid & (target < 2.0)) for depths, target, valid in images]
    assert summed(images, 2, near) == summed(cut, 2)
    nothing = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    assert summed([*images, (images[0][0], images[0][1], nothing)], 2) == summed(images, 2)


def test_what_cannot_be_summed_is_refused():
    (depths, target, valid), *_ = planted(np.eye(2) * 0.01, np.eye(2) * 0.01, images=1)
    with pytest.raises(ValueError, match="no image with a scored pixel"):
        LikenessSums(["a", "b"], PROTOCOL).compute()
    with pytest.raises(ValueError, match="no pixel of the image is valid"):
        error_parts(depths.transpose(0, 1), target, torch.zeros_like(valid))
    depths[0, 1][valid[0, 0]] = 0
    pixels = int(valid.sum())
    with pytest.raises(ValueError, match=f"{pixels} of {pixels} valid pixels have depth that is not positive"):
        error_parts(depths.transpose(0, 1), target, valid)


def test_correlations_by_hand():
    assert correlations(np.array([[4.0, -3.0], [-3.0, 9.0]])) == ((1.0, -0.5), (-0.5, 1.0))
    assert correlations(np.array([[4.0, 1e-20], [1e-20, 1e-30]])) == ((1.0, None), (None, None))
