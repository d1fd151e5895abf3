"""Bins, the mixture and the token count of AdaBins."""

import pytest
import torch
from narrow import narrow_network, noise

from base_learners.adabins import BinTransformer, bin_centres

RANGE = {"min_depth": 1e-3, "max_depth": 10.0}


def test_bins_with_equal_logits():
    centres = bin_centres(torch.zeros(1, 256), **RANGE)[0]
    assert centres[0].item() == pytest.approx(0.0205293, abs=1e-6)
    assert centres[-1].item() == pytest.approx(9.9804707, abs=1e-5)
    assert (centres[1] - centres[0]).item() == pytest.approx(0.0390586, abs=1e-6)


def test_centres_ascend_inside_the_range_and_widths_sum_to_one():
    logits = 5 * torch.randn(20, 256, generator=torch.Generator().manual_seed(0))
    centres = bin_centres(logits, **RANGE)
    assert (centres.diff(dim=1) > 0).all()
    assert centres.min() > 1e-3
    assert centres.max() < 10
    # The first width is twice the first centre's distance from the lower end; the others follow centre by centre.
    edge = torch.full((20,), 1e-3, dtype=torch.float64)
    for centre in centres.double().T:
        edge = 2 * centre - edge
    torch.testing.assert_close(edge, torch.full_like(edge, 10.0), rtol=0, atol=3e-4)


def test_one_matrix_per_image_equals_query_product_then_convolution():
    network = narrow_network("adabins")
    features, queries = noise(2, 16, 6, 7), noise(2, 8, 16, seed=1)
    centres = bin_centres(noise(2, 16, seed=2), **RANGE)
    attention = torch.einsum("bqc,bchw->bqhw", queries, features)
    logits = torch.einsum("nq,bqhw->bnhw", network.mixture.weight, attention) + network.mixture.bias[:, None, None]
    expected = (logits.softmax(dim=1) * centres[:, :, None, None]).sum(dim=1, keepdim=True)
    torch.testing.assert_close(network._mix(features, queries, centres), expected, rtol=1e-5, atol=4e-6)


def test_a_small_image_names_the_smallest_size_and_a_patch_size_that_work():
    network = narrow_network("adabins", queries=128, patch_size=16).eval()
    with pytest.raises(ValueError, match=r"96x128 gives 3x4 = 12 patches") as error:
        network(noise(1, 3, 96, 128))
    assert "the smallest size of this shape is 320x416" in str(error.value)
    assert "patch_size to at most 4" in str(error.value)
    assert network(noise(1, 3, 320, 416)).depth.shape == (1, 1, 320, 416)
    network = narrow_network("adabins", queries=128, patch_size=4).eval()
    assert network(noise(1, 3, 96, 128)).depth.shape == (1, 1, 96, 128)


def test_long_sequences_interpolate_the_positions():
    transformer = narrow_network("adabins", positions=40).transformer
    assert torch.equal(transformer._positions(40), transformer.positions)
    assert torch.equal(transformer._positions(12), transformer.positions[:12])
    stretched = transformer._positions(80)
    assert stretched.shape == (80, 16)
    torch.testing.assert_close(stretched[0], transformer.positions[0])
    torch.testing.assert_close(stretched[1], 0.75 * transformer.positions[0] + 0.25 * transformer.positions[1])


def test_depth_and_centres_share_their_range():
    prediction = narrow_network("adabins", min_depth=2.0, max_depth=4.0).eval()(noise(2, 3, 64, 96))
    assert prediction.bin_centres.shape == (2, 16)
    assert prediction.bin_centres.min() > 2
    assert prediction.bin_centres.max() < 4
    assert prediction.depth.min() >= 2
    assert prediction.depth.max() <= 4


def test_heads_must_divide_the_embedding():
    with pytest.raises(ValueError, match="embedding is 10, expected a multiple of heads 4"):
        BinTransformer(
            10, bins=4, queries=2, patch_size=2, positions=4, layers=1, heads=4, feedforward=8, hidden=8, dropout=0.0
        )


def test_positions_of_an_open_number_of_patches_are_those_of_a_known_one():
    transformer = narrow_network("adabins").transformer
    for count in (9, 39, 40, 41, 200):
        torch.testing.assert_close(transformer._resampled(count), transformer._positions(count), rtol=0, atol=1e-5)
