"""The Laplacian pyramid, standardised filters and the order of interpolation of LDRN."""

import pytest
import torch
from narrow import narrow_network, noise
from torch.utils.flop_counter import FlopCounterMode

from base_learners.encoders.build import build_encoder
from base_learners.ldrn import LDRN, WSConv2d, laplacian_pyramid, restore


@pytest.mark.parametrize("size", [(64, 96), (97, 131)])
def test_the_pyramid_rebuilds_its_image(size):
    image = noise(2, 3, *size)
    sizes = [(-(-size[0] // n), -(-size[1] // n)) for n in (2, 4, 8, 16, 32)]
    residuals, coarsest = laplacian_pyramid(image, sizes)
    rebuilt = restore([coarsest, *reversed(residuals)])
    assert (rebuilt - image).abs().max() <= 5e-7


def test_a_constant_image_has_no_residuals():
    residuals, coarsest = laplacian_pyramid(torch.full((1, 3, 33, 47), 0.5), [(17, 24), (9, 12)])
    assert all(residual.abs().max() <= 1e-7 for residual in residuals)
    torch.testing.assert_close(coarsest, torch.full_like(coarsest, 0.5))


def test_depth_with_residuals_zero_and_coarse_half():
    residuals = [torch.full((1, 1, 2, 3), 0.5), *(torch.zeros(1, 1, 2 * n, 3 * n) for n in (2, 4, 8, 16, 32))]
    assert (10 * torch.sigmoid(restore(residuals))).unique().item() == pytest.approx(6.2245933, abs=1e-6)


def test_attainable_range_of_six_levels():
    lowest, highest = (
        10 * torch.sigmoid(restore([torch.full((1, 1, 1, 1), coarse), *[torch.full((1, 1, 1, 1), step)] * 5])).item()
        for coarse, step in ((0.0, -1.0), (1.0, 1.0))
    )
    assert lowest == pytest.approx(0.0669, abs=1e-4)
    assert highest == pytest.approx(9.9753, abs=1e-4)


def test_standardised_filters_have_mean_0_and_deviation_1():
    conv = WSConv2d(6, 5, 3, bias=False)
    flat = conv.standardised().reshape(5, -1)
    torch.testing.assert_close(flat.mean(dim=1), torch.zeros(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(flat.std(dim=1), torch.ones(5), atol=2e-4, rtol=0)


def test_standardised_filters_ignore_gain_and_offset():
    conv, image = WSConv2d(6, 5, 3, bias=False), noise(1, 6, 8, 8)
    before = conv(image)
    conv.weight.data.mul_(7).add_(3)
    torch.testing.assert_close(conv(image), before, rtol=1e-3, atol=1e-3)


def test_a_filter_of_one_element_is_left_as_it_is():
    conv = WSConv2d(1, 2, 1, bias=False)
    assert torch.equal(conv.standardised(), conv.weight)


def test_interpolating_after_the_convolution_is_cheaper_and_has_the_same_weights():
    network = LDRN(build_encoder(), interpolate="after")
    assert sum(p.numel() for p in network.parameters()) == 14_892_724
    with FlopCounterMode(display=False) as counter:
        network.to("meta")(torch.empty(1, 3, 416, 544, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(10.334, abs=0.001)
    depth = narrow_network("ldrn", interpolate="after").eval()(noise(1, 3, 49, 65)).depth
    assert depth.shape == (1, 1, 49, 65)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="interpolate is 'between', expected 'before' or 'after'"):
        narrow_network("ldrn", interpolate="between")
    with pytest.raises(ValueError, match="expected more than 4 channels"):
        narrow_network("ldrn", widths=(16, 8, 8, 4, 8))
