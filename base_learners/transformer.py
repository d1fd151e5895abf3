"""A vision transformer over the pixels of a map, read after some of its blocks; parameters have timm's names.

Source: Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, eq. 1 to 4 (hybrid); without the final norm.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from base_learners.attention import Attention

START_DEVIATION = 0.02


class FeedForward(nn.Module):
    """Two layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """The same for every token."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    """Attention, then a feed-forward part, each behind a norm and added to what came in."""

    def __init__(self, width: int, heads: int, hidden: int, *, attention: str) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, kind=attention)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = FeedForward(width, hidden)

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """The tokens after it."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class Transformer(nn.Module):
    """Blocks up to the last that is read; later ones are not built.

    Args:
        width: Channels of a token.
        heads: Of the attention.
        hidden: Channels inside the feed-forward part.
        positions: Rows and columns of the learnt positions; other maps get them resized.
        hooks: Numbers of the blocks that are read, from 0, ascending.
        attention: ``softmax`` or ``performer``.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        hidden: int,
        positions: Sequence[int],
        hooks: Sequence[int],
        attention: str,
    ) -> None:
        super().__init__()
        self.grid, self.hooks = tuple(positions), tuple(hooks)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, self.grid[0] * self.grid[1] + 1, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, attention=attention) for _ in range(max(self.hooks) + 1)
        )
        self._start()

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[tuple[Float[Tensor, "b n c"], Float[Tensor, "b 1 c"]]]:
        """Tokens of the pixels, row by row, and the class token, after every block that is read."""
        class_position, positions = self.pos_embed[:, :1], self._positions(x)
        tokens = (x + positions).flatten(2).transpose(1, 2)
        first = (self.cls_token + class_position).expand(len(x), -1, -1).to(tokens.dtype)
        tokens, read = torch.cat([first, tokens], dim=1), []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index in self.hooks:
                read.append((tokens[:, 1:], tokens[:, :1]))
        return read

    def _positions(self, like: Float[Tensor, "b c h w"]) -> Float[Tensor, "1 c h w"]:
        """Bilinear with corners not aligned, as the published weights want it."""
        learnt = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, self.grid)
        return F.interpolate(learnt, size=like.shape[-2:], mode="bilinear", align_corners=False).to(like.dtype)

    def _start(self) -> None:
        for token in (self.cls_token, self.pos_embed):
            nn.init.normal_(token, std=START_DEVIATION)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=START_DEVIATION)
                nn.init.zeros_(layer.bias)
