"""The published size of FFN, and its order of fusion."""

import pytest
import torch
from narrow import narrow_network, noise

from base_learners import LEARNERS
from base_learners.blocks import ResidualUnit
from base_learners.encoders.build import build_encoder
from base_learners.ffn import NEEDS


def test_it_has_the_parameters_that_the_published_student_has_95_percent_less_than():
    network = LEARNERS["ffn"].network(build_encoder("resnest101e", needs=NEEDS))
    parameters = sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in network.encoder.parameters()) == 46_226_016
    assert parameters == 74_610_290
    assert 1 - 3_960_930 / parameters == pytest.approx(0.947, abs=5e-4)


def test_a_residual_block_adds_what_comes_in():
    block = ResidualUnit(4)
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    x = noise(1, 4, 5, 6) - 0.5
    assert torch.equal(block(x), x)


def test_it_starts_near_a_quarter_of_the_largest_depth():
    depth = narrow_network("ffn", max_depth=8.0)(noise(4, 3, 64, 96)).depth
    assert depth.median().item() == pytest.approx(2.0, rel=0.2)


def test_fast_variants_are_their_learners_with_one_setting_changed():
    for fast, whole, setting in (
        ("ldrn_fast", "ldrn", {"interpolate": "after"}),
        ("bts_fast", "bts", {"activation": "leaky_relu"}),
    ):
        changed, variant = narrow_network(whole, **setting).eval(), narrow_network(fast).eval()
        image = noise(1, 3, 64, 96)
        with torch.no_grad():
            assert torch.equal(changed(image).depth, variant(image).depth)
            assert not torch.equal(narrow_network(whole).eval()(image).depth, variant(image).depth)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation is 'gelu', expected one of elu, leaky_relu"):
        narrow_network("bts", activation="gelu")
