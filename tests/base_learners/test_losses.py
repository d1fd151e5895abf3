"""Losses against hand-computed values, invariances, poisoned pixels and bad batches."""

import pytest
import torch

from base_learners import LEARNERS
from base_learners.contract import DepthPrediction
from base_learners.losses import bin_chamfer_loss, check_shapes, scale_invariant_log_loss, sobel_gradient_loss


def row(*values):
    return torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)


def silog(predicted, target, **weights):
    return scale_invariant_log_loss(predicted, target, target > 1e-3, **weights)


@pytest.mark.parametrize(
    ("predicted", "target", "expected"),
    [
        (row(2, 2), row(1, 4), 6.9314718),
        (row(2, 4, 6), row(1, 2, 3), 2.6845475),
        (row(1, 2.5, 3, 8), row(1, 2, 4, 8), 1.8143106),
    ],
)
def test_silog_by_hand(predicted, target, expected):
    assert silog(predicted, target).item() == pytest.approx(expected, rel=1e-6)


def test_silog_with_full_mean_weight_ignores_scale():
    predicted, target = row(1, 2.5, 3, 8), row(1, 2, 4, 8)
    scaled = silog(3.7 * predicted, target, mean_weight=1.0)
    assert scaled.item() == pytest.approx(silog(predicted, target, mean_weight=1.0).item(), rel=1e-5)


def test_silog_gradient_by_hand_with_a_zero_masked():
    predicted = row(1, 2, 3).requires_grad_()
    silog(predicted, row(1.5, 0, 2)).backward()
    assert predicted.grad.flatten().tolist() == pytest.approx([-5, 0, 1.6667], abs=1e-4)


def test_perfect_prediction_has_finite_loss_and_gradient():
    predicted = row(1, 2, 4, 8).requires_grad_()
    loss = silog(predicted, row(1, 2, 4, 8))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-4)
    assert torch.isfinite(predicted.grad).all()


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -1.0, 0.0])
@pytest.mark.parametrize("loss", [scale_invariant_log_loss, sobel_gradient_loss])
def test_invalid_pixels_are_never_read(loss, poison):
    generator = torch.Generator().manual_seed(0)
    predicted, target = (1 + torch.rand(2, 1, 9, 11, generator=generator) for _ in range(2))
    valid = torch.ones(2, 1, 9, 11, dtype=torch.bool)
    valid[:, :, 2:4, 5:8] = False
    dirty = torch.where(valid, predicted, poison).requires_grad_()
    clean = predicted.clone().requires_grad_()
    of_clean, of_dirty = loss(clean, target, valid), loss(dirty, torch.where(valid, target, poison), valid)
    of_clean.backward()
    of_dirty.backward()
    assert of_dirty.item() == of_clean.item() > 0
    assert torch.equal(dirty.grad, clean.grad)
    assert not dirty.grad[~valid].any()


def test_an_empty_mask_is_refused():
    depth, nothing = row(1, 2), torch.zeros(1, 1, 1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="none of 2 pixels is valid"):
        scale_invariant_log_loss(depth, depth, nothing)
    with pytest.raises(ValueError, match="none of 2 pixels is valid"):
        bin_chamfer_loss(torch.ones(1, 4), depth, nothing)


def test_other_shapes_and_masks_are_refused():
    with pytest.raises(ValueError, match=r"predicted \(1, 1, 1, 2\), target \(1, 1, 1, 3\)"):
        check_shapes(row(1, 2), row(1, 2, 3), row(1, 2) > 0)
    with pytest.raises(ValueError, match="must be boolean"):
        check_shapes(row(1, 2), row(1, 2), row(1, 1))


def test_a_valid_pixel_without_logarithm_is_counted_by_side():
    everything = torch.ones(1, 1, 1, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match="of 3 valid pixels 0 predicted and 2 measured depths"):
        scale_invariant_log_loss(row(1, 1, 1), row(-1, 0, 2), everything)
    with pytest.raises(ValueError, match="of 3 valid pixels 1 predicted and 0 measured depths"):
        scale_invariant_log_loss(row(1, float("nan"), 1), row(1, 1, 2), everything)


def test_chamfer_by_hand_and_with_invalid_pixels():
    centres, target = torch.tensor([[1.0, 3.0]]), row(1, 2, 2, 4)
    assert bin_chamfer_loss(centres, target, target > 0).item() == 1.25
    holes = row(1, 2, float("nan"), 2, 4, float("inf"), 0)
    valid = torch.tensor([True, True, False, True, True, False, False]).view(1, 1, 1, -1)
    assert bin_chamfer_loss(centres, holes, valid).item() == 1.25


def test_chamfer_equals_brute_force_in_value_and_gradient():
    generator = torch.Generator().manual_seed(0)
    target = 10 * torch.rand(3, 1, 13, 17, generator=generator)
    valid = torch.rand(3, 1, 13, 17, generator=generator) > 0.3
    centres = (10 * torch.rand(3, 24, generator=generator)).sort(dim=1).values
    fast, slow = centres.clone().requires_grad_(), centres.clone().requires_grad_()
    bin_chamfer_loss(fast, target, valid).backward()
    terms = []
    for own, depth, mask in zip(slow, target, valid, strict=True):
        square = (own[:, None] - depth[mask][None]).square()
        terms.append(square.amin(0).mean() + square.amin(1).mean())
    torch.stack(terms).mean().backward()
    assert bin_chamfer_loss(fast, target, valid).item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-6)
    torch.testing.assert_close(fast.grad, slow.grad)


def test_chamfer_leaves_out_an_image_without_measurements():
    centres, target = torch.tensor([[1.0, 3.0], [1.0, 3.0]]), torch.cat([row(1, 2, 2, 4), row(0, 0, 0, 0)])
    assert bin_chamfer_loss(centres, target, target > 0).item() == 1.25


def test_sobel_of_a_slope_is_its_slope():
    ramp = torch.arange(6.0).expand(1, 1, 5, 6)
    everything = torch.ones_like(ramp, dtype=torch.bool)
    assert sobel_gradient_loss(3 * ramp, ramp, everything).item() == pytest.approx(1.0)  # 2 m across, 0 m down
    assert sobel_gradient_loss(ramp + 4, ramp, everything).item() == 0


DEFECTS = ("zero", "single", "nan", "inf", "negative", "far", "overflow")


def spoil(target, defect, generator):
    """Put a defect of real depth files into about a third of the batch's pixels."""
    values = {"zero": 0.0, "nan": float("nan"), "inf": float("inf"), "negative": -2.0, "far": 42.0, "overflow": 65535.0}
    if defect == "single":
        target[0] = 0
        target[0, 0, 1, 2] = 3.0
    elif defect == "zero":
        target[0] = 0
    else:
        target[torch.rand(target.shape, generator=generator) < 0.3] = values[defect]
    return target


@pytest.mark.slow
def test_a_thousand_bad_batches_give_finite_losses_and_gradients():
    generator = torch.Generator().manual_seed(0)
    for index in range(1000):
        target = spoil(0.5 + 9 * torch.rand(2, 1, 5, 6, generator=generator), DEFECTS[index % 7], generator)
        valid = torch.isfinite(target) & (target > 1e-3) & (target < 10)
        depth = (0.01 + 9 * torch.rand(2, 1, 4, 3, generator=generator)).requires_grad_()
        centres = (10 * torch.rand(2, 8, generator=generator)).sort(dim=1).values.requires_grad_()
        for name, learner in LEARNERS.items():
            extra = {"gradient_weight": 0.1} if name == "ldrn" else {}
            loss = sum(learner.loss(DepthPrediction(depth, centres), target, valid, **extra).values())
            loss.backward()
            assert torch.isfinite(loss)
        assert torch.isfinite(depth.grad).all()
        assert torch.isfinite(centres.grad).all()


def test_adabins_loss_needs_bin_centres():
    with pytest.raises(ValueError, match="no bin centres"):
        LEARNERS["adabins"].loss(DepthPrediction(row(1, 2)), row(1, 2), row(1, 2) > 0)
