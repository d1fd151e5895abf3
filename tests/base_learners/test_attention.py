"""Attention by random features against the exact one, and against its own formula written out token by token."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from base_learners.attention import Attention, favor_attention, orthogonal_features


def drawn(*shape: int, deviation: float, seed: int = 0) -> torch.Tensor:
    return deviation * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def error_at(deviation: float, *, features: int | None = None) -> float:
    torch.manual_seed(0)
    query, key = (drawn(2, 3, 120, 64, deviation=deviation, seed=seed) for seed in (1, 2))
    value = drawn(2, 3, 120, 64, deviation=1.0, seed=3)
    exact = F.scaled_dot_product_attention(query, key, value)
    estimate = favor_attention(query, key, value, orthogonal_features(64, features))
    return ((estimate - exact).norm() / exact.norm()).item()


def test_random_features_agree_with_softmax_at_small_norms():
    assert error_at(0.1) < 0.02
    assert error_at(0.25) < 0.12
    assert error_at(0.1) < error_at(0.25) < error_at(0.5), "larger norms are estimated worse"
    assert error_at(0.25, features=4096) < error_at(0.25) / 2, "more features estimate better"


def test_every_token_is_a_mean_of_values():
    torch.manual_seed(0)
    query, key = (drawn(1, 2, 30, 16, deviation=3.0, seed=seed) for seed in (1, 2))
    ones = favor_attention(query, key, torch.ones(1, 2, 30, 16), orthogonal_features(16))
    torch.testing.assert_close(ones, torch.ones_like(ones))


def test_the_formula_token_by_token():
    torch.manual_seed(0)
    features = orthogonal_features(8, 24)
    query, key, value = (drawn(1, 1, 5, 8, deviation=0.3, seed=seed) for seed in (1, 2, 3))
    q, k, v, w = (x.squeeze().double().numpy() for x in (query, key, value, features))
    q, k = q / 8**0.25, k / 8**0.25
    over_keys = (k @ w.T).max()
    expected = []
    for row in q:
        top = (w @ row).max()
        left = [math.exp(w_i @ row - row @ row / 2 - top) + 1e-4 for w_i in w]
        weights = [
            sum(
                a * (math.exp(w_i @ other - other @ other / 2 - over_keys) + 1e-4)
                for a, w_i in zip(left, w, strict=True)
            )
            for other in k
        ]
        expected.append(sum(weight * each for weight, each in zip(weights, v, strict=True)) / sum(weights))
    found = favor_attention(query, key, value, features).squeeze()
    torch.testing.assert_close(found.double(), torch.from_numpy(np.stack(expected)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("width", "count"), [(64, 266), (32, 110), (768, 5102)])
def test_as_many_features_as_the_paper_asks_for(width, count):
    with torch.device("meta"):
        assert orthogonal_features(width).shape == (count, width)


def test_features_are_orthogonal_within_a_block_and_as_long_as_gaussian_vectors():
    torch.manual_seed(0)
    features = orthogonal_features(32, 64)
    for block in features.split(32):
        directions = F.normalize(block, dim=-1)
        torch.testing.assert_close(directions @ directions.T, torch.eye(32), atol=1e-5, rtol=0)
    assert features.norm(dim=-1).square().mean().item() == pytest.approx(32, rel=0.1)


def test_heads_have_equal_parameters_and_a_performer_none_more():
    counts = {
        sum(p.numel() for p in Attention(96, heads, kind=kind).parameters())
        for heads in (1, 12, 24)
        for kind in ("softmax", "performer")
    }
    assert counts == {4 * 96 * 96 + 4 * 96}


def test_a_performer_keeps_its_features_among_the_weights_and_runs_in_16_bits():
    torch.manual_seed(0)
    attention, tokens = Attention(32, 4, kind="performer"), drawn(2, 7, 32, deviation=1.0)
    assert "features" in attention.state_dict()
    whole = attention(tokens)
    half = attention.to(torch.bfloat16)(tokens.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), whole, atol=0.05, rtol=0.05)


def test_bad_heads_and_kinds_are_refused():
    with pytest.raises(ValueError, match="5 heads do not divide a width of 96"):
        Attention(96, 5)
    with pytest.raises(ValueError, match="'linear', expected softmax or performer"):
        Attention(96, 4, kind="linear")
