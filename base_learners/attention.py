"""Attention over tokens: exact (softmax), or by positive random features at a cost that is linear in their number.

Source: Vaswani et al. 2017, eq. 1; Choromanski et al. 2021, Rethinking Attention with Performers, section 2 (FAVOR+).
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from base_learners.blocks import full_precision

KINDS = ("softmax", "performer")
SMALLEST_FEATURE = 1e-4
"""Added to every feature, so that no sum of them is zero."""


class Attention(nn.Module):
    """Self-attention of ``heads`` heads, each of ``width / heads`` channels.

    Random features of a Performer are drawn once and are part of the weights.

    Raises:
        ValueError: The heads do not divide the width, or there is no such kind of attention.
    """

    features: Tensor

    def __init__(self, width: int, heads: int, *, kind: str = "softmax") -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"attention: {heads} heads do not divide a width of {width}, expected a divisor of it")
        if kind not in KINDS:
            raise ValueError(f"attention: {kind!r}, expected {' or '.join(KINDS)}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.exact = kind == "softmax"
        if not self.exact:
            self.register_buffer("features", orthogonal_features(width // heads))

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """What every token takes from all of them."""
        batch, count, width = tokens.shape
        split = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        if self.exact:
            taken = F.scaled_dot_product_attention(query, key, value)
        else:
            taken = favor_attention(query, key, value, self.features)
        return self.proj(taken.transpose(1, 2).reshape(batch, count, width))


def orthogonal_features(width: int, count: int | None = None) -> Float[Tensor, "count width"]:
    """Directions of random features: blocks of orthonormal rows, each as long as an independent Gaussian vector.

    Where no ``count`` is given there are ``width * log(width)`` of them.

    Source: Choromanski et al. 2021, section 2.4.
    """
    count = max(1, int(width * math.log(width))) if count is None else count
    blocks = [torch.linalg.qr(torch.randn(width, width)).Q.T for _ in range(math.ceil(count / width))]
    return torch.cat(blocks)[:count] * torch.randn(count, width).norm(dim=-1, keepdim=True)


def favor_attention(
    query: Float[Tensor, "b heads n d"],
    key: Float[Tensor, "b heads n d"],
    value: Float[Tensor, "b heads n d"],
    features: Float[Tensor, "m d"],
) -> Float[Tensor, "b heads n d"]:
    """An estimate of softmax attention that never compares two tokens; computed in float32.

    Source: Choromanski et al. 2021, eq. 4 and lemma 1.
    """
    with full_precision(query):
        queries = _positive(query.float(), features.float(), (-1,))
        keys = _positive(key.float(), features.float(), (-2, -1))
        taken = queries @ (keys.transpose(-2, -1) @ value.float())
        return (taken / (queries @ keys.sum(dim=-2).unsqueeze(-1))).to(value.dtype)


def _positive(x: Float[Tensor, "b heads n d"], features: Tensor, largest_over: tuple[int, ...]) -> Tensor:
    """Features whose products estimate ``exp(q k / sqrt(d))``; the largest exponent over some axes is taken out."""
    x = x * x.shape[-1] ** -0.25
    projected = x @ features.T
    largest = projected.detach().amax(dim=largest_over, keepdim=True)
    exponent = projected - x.square().sum(dim=-1, keepdim=True) / 2 - largest
    return (exponent.exp() + SMALLEST_FEATURE) * len(features) ** -0.5
