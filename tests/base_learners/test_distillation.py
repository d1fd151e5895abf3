"""Losses between student and teacher, by numbers worked out by hand, invariances and poisoned pixels."""

import math

import pytest
import torch
from narrow import narrow_network, noise

from base_learners import LEARNERS
from base_learners.contract import HandsOutMaps
from base_learners.distillation import affinity, affinity_loss, trust, weighted_log_loss
from base_learners.losses import scale_invariant_log_loss


@pytest.mark.parametrize("name", [name for name in LEARNERS if name != "dpt"])
def test_every_convolutional_learner_hands_out_the_maps_that_its_depth_is_made_of(name):
    assert LEARNERS[name].hands_out_maps
    assert not LEARNERS["dpt"].hands_out_maps
    network = narrow_network(name, **({"patch_size": 2} if name == "adabins" else {})).eval()
    assert isinstance(network, HandsOutMaps)
    image = noise(2, 3, 65, 97)
    with torch.no_grad():
        prediction, maps = network.with_maps(image)
        assert torch.equal(prediction.depth, network(image).depth)
    for stride in (16, 8, 4, 2):
        assert maps[stride].shape[0] == 2
        assert maps[stride].shape[-2:] == (-(-65 // stride), -(-97 // stride))


def test_trust_halves_where_the_error_is_the_floor():
    depth, error = torch.tensor([2.0, 2.0, 4.0, 0.0]), torch.tensor([0.0, 0.1, 0.4, 0.3])
    found = trust(error.view(1, 1, 2, 2), depth.view(1, 1, 2, 2), floor=0.05)
    torch.testing.assert_close(found.flatten(), torch.tensor([1.0, 0.5, 0.2, 0.0]))


def test_equal_weights_are_the_loss_of_learners():
    predicted, target = 1 + noise(2, 1, 8, 9), 1 + noise(2, 1, 8, 9, seed=1)
    expected = scale_invariant_log_loss(predicted, target, torch.ones_like(target, dtype=torch.bool))
    for weight in (0.3, 1.0, 7.0):
        torch.testing.assert_close(weighted_log_loss(predicted, target, torch.full_like(target, weight)), expected)


def test_a_pixel_of_weight_three_counts_as_three():
    errors = torch.tensor([0.0, 0.4])
    predicted, target = errors.exp().view(1, 1, 1, 2), torch.ones(1, 1, 1, 2)
    found = weighted_log_loss(predicted, target, torch.tensor([3.0, 1.0]).view(1, 1, 1, 2), mean_weight=0.5, scale=1.0)
    mean, square = 0.1, 0.16 / 4
    assert found.item() == pytest.approx(math.sqrt(square - 0.5 * mean**2), rel=1e-5)


def test_only_what_has_a_weight_is_read_and_no_weight_is_no_loss():
    predicted = (1 + noise(1, 1, 4, 4)).requires_grad_()
    target, weight = 1 + noise(1, 1, 4, 4, seed=1), torch.ones(1, 1, 4, 4)
    weight[..., 0] = 0
    poisoned = target.masked_fill(weight == 0, math.nan)
    loss = weighted_log_loss(predicted, poisoned, weight)
    assert torch.equal(loss, weighted_log_loss(predicted, target, weight))
    loss.backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert (predicted.grad[..., 0] == 0).all()
    assert weighted_log_loss(predicted, poisoned, torch.zeros_like(weight)).item() == 0


def test_the_gradient_is_finite_where_student_and_teacher_agree():
    depth = (1 + noise(1, 1, 4, 4)).requires_grad_()
    weighted_log_loss(depth, depth.detach(), torch.ones(1, 1, 4, 4)).backward()
    assert depth.grad is not None
    assert depth.grad.isfinite().all()


def test_full_mean_weight_is_blind_to_scale():
    predicted, target, weight = 1 + noise(1, 1, 6, 6), 1 + noise(1, 1, 6, 6, seed=1), noise(1, 1, 6, 6, seed=2)
    near, far = (weighted_log_loss(predicted * by, target, weight, mean_weight=1.0) for by in (1, 5))
    torch.testing.assert_close(near, far)
    assert weighted_log_loss(5 * predicted, target, weight) > weighted_log_loss(predicted, target, weight)


def test_affinity_is_the_cosine_of_places():
    maps = torch.tensor([[3.0, 0.0], [4.0, 0.0], [5.0, 0.0]]).view(1, 3, 1, 2)
    found = affinity(torch.cat([maps, maps.flip(1)], dim=3)[:, :2], (1, 4))[0]
    places = torch.tensor([[3.0, 4.0], [0.0, 0.0], [5.0, 4.0], [0.0, 0.0]])
    assert found[0, 2].item() == pytest.approx(float(places[0] @ places[2]) / (5 * math.sqrt(41)), rel=1e-5)
    assert found[0, 0].item() == pytest.approx(1)
    assert found[1].abs().max() == 0


def test_affinity_knows_neither_channels_nor_lengths():
    maps = noise(2, 6, 20, 24) - 0.5
    mixing = torch.linalg.qr(noise(9, 6))[0]
    more = 3 * torch.einsum("oc,bchw->bohw", mixing, maps)
    assert affinity_loss({4: maps}, {4: more}).item() == pytest.approx(0, abs=1e-6)
    assert affinity_loss({4: maps}, {4: maps.flip(-1)}) > 1e-3


def test_affinities_of_half_precision_are_computed_in_whole():
    maps = noise(1, 4, 20, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = affinity(maps.bfloat16(), (16, 16))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, affinity(maps.bfloat16().float(), (16, 16)))


def test_maps_without_a_stride_in_common_are_refused():
    with pytest.raises(ValueError, match="of the student at strides \\[1, 8\\], of the teacher at \\[1, 4\\]"):
        affinity_loss({8: noise(1, 2, 4, 4), 1: noise(1, 2, 4, 4)}, {4: noise(1, 2, 4, 4), 1: noise(1, 2, 4, 4)})


def test_the_teacher_gets_no_gradient():
    student, teacher = noise(1, 4, 8, 8).requires_grad_(), noise(1, 4, 8, 8, seed=1).requires_grad_()
    affinity_loss({2: student}, {2: teacher}).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
