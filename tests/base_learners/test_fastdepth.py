"""FastDepth's size, cost and order of work, and the loss that matches gradients, by numbers worked out by hand."""

import math

import pytest
import torch
from narrow import narrow_network, noise
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from base_learners.contract import DepthPrediction
from base_learners.encoders.build import build_encoder
from base_learners.fastdepth import FastDepth, Halving, fastdepth_loss
from base_learners.losses import gradient_matching_loss


def mobilenet() -> FastDepth:
    return FastDepth(build_encoder("mobilenetv1_100", arguments={"pad_type": "same"}))


def test_parameters_are_the_published_ones():
    network = mobilenet()
    assert sum(p.numel() for p in network.encoder.parameters()) == 3_206_976
    assert sum(p.numel() for p in network.parameters()) == 3_960_930
    assert all(isinstance(skip, nn.Identity) for skip in network.skips), "MobileNet's maps have the decoder's widths"


@pytest.mark.parametrize(("size", "giga"), [((224, 224), 0.737), ((96, 128), 0.180), ((480, 640), 4.510)])
def test_multiply_adds_are_the_published_ones(size, giga):
    with FlopCounterMode(display=False) as counter:
        mobilenet().to("meta")(torch.empty(1, 3, *size, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(giga, abs=0.001)


def test_a_block_halves_before_anything_is_enlarged():
    block = Halving(8, 4, kernel=5)
    assert block(noise(1, 8, 7, 7)).shape == (1, 4, 7, 7)
    assert sum(p.numel() for p in block.parameters()) == 25 * 8 + 2 * 8 + 8 * 4 + 2 * 4


def test_other_encoders_bring_their_skips_to_the_widths():
    network = narrow_network("fastdepth", encoder="mobilenetv2_035", widths=(64, 32, 24, 16, 8))
    assert [type(skip) for skip in network.skips] == 3 * [nn.Conv2d]
    assert network.eval()(noise(1, 3, 65, 97)).depth.shape == (1, 1, 65, 97)


def test_it_starts_near_a_quarter_of_the_largest_depth():
    depth = narrow_network("fastdepth", max_depth=8.0)(noise(4, 3, 64, 96)).depth
    assert depth.median().item() == pytest.approx(2.0, rel=0.2)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="expected five"):
        narrow_network("fastdepth", widths=(32, 16))
    with pytest.raises(ValueError, match="kernel 4, expected an odd number"):
        narrow_network("fastdepth", kernel=4)


def test_gradients_match_where_the_error_is_one_factor():
    target, valid = 1 + noise(2, 1, 24, 32), torch.ones(2, 1, 24, 32, dtype=torch.bool)
    assert gradient_matching_loss(1.5 * target, target, valid).item() == pytest.approx(0, abs=1e-5)


def test_gradients_of_a_slope_in_logs_are_worked_out():
    columns = torch.arange(16.0).expand(1, 1, 8, 16)
    target, valid = torch.full((1, 1, 8, 16), 2.0), torch.ones(1, 1, 8, 16, dtype=torch.bool)
    loss = gradient_matching_loss(target * (0.01 * columns).exp(), target, valid)
    assert loss.item() == pytest.approx(0.01 * (1 + 2 + 4 + 8), rel=1e-4), "every scale doubles the step"
    assert gradient_matching_loss(target * (0.01 * columns).exp(), target, valid, scales=1).item() == pytest.approx(
        0.01, rel=1e-3
    )


def test_only_pairs_of_valid_neighbours_are_read():
    target, valid = torch.full((1, 1, 8, 8), 2.0), torch.ones(1, 1, 8, 8, dtype=torch.bool)
    predicted = target.clone()
    predicted[..., 3, 3], target[..., 3, 3], valid[..., 3, 3] = math.e, math.nan, False
    assert gradient_matching_loss(predicted, target, valid, scales=1).item() == 0
    checkers = (torch.arange(8)[:, None] + torch.arange(8)) % 2 == 0
    assert gradient_matching_loss(predicted, target, checkers.expand(1, 1, 8, 8), scales=1).item() == 0, "no pair"


def test_the_gradient_term_is_there_where_it_has_a_weight():
    target, valid = 1 + noise(1, 1, 24, 32), torch.ones(1, 1, 24, 32, dtype=torch.bool)
    prediction = DepthPrediction(1 + noise(1, 1, 24, 32, seed=1))
    assert list(fastdepth_loss(prediction, target, valid)) == ["silog"]
    terms = fastdepth_loss(prediction, target, valid, gradient_weight=0.5, gradient_scales=2)
    whole = gradient_matching_loss(prediction.depth, target, valid, scales=2)
    assert terms["gradient"].item() == pytest.approx(0.5 * whole.item())
    with pytest.raises(ValueError, match="scales 0, expected at least 1"):
        gradient_matching_loss(prediction.depth, target, valid, scales=0)
