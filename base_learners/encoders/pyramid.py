"""The pyramid of features: what a decoder needs of an encoder, and the encoder that gives it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Pyramid:
    """What a decoder needs: one map at each of these strides (pixels of the image per pixel of a map), finest first."""

    strides: tuple[int, ...]
    whole: bool = False
    """Whether the deepest map is the one that the classifier reads; of a hybrid of convolutions and a transformer, the
    one that the transformer reads, at whatever stride. Weights beyond the maps are kept (``Encoder.rest``)."""


FIVE = Pyramid((2, 4, 8, 16, 32))
"""What decoders of U-Net's shape read, those of the study among them."""

WITH_TRANSFORMER = Pyramid((4, 8, 32), whole=True)
"""What is read beside a transformer over the deepest map."""


class Encoder(nn.Module):
    """Normalises every input channel and returns the maps of a pyramid, finest first."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        features: nn.Module,
        channels: Sequence[int],
        *,
        mean: Sequence[float],
        std: Sequence[float],
        strides: Sequence[int] = FIVE.strides,
    ) -> None:
        super().__init__()
        self.features = features
        self.channels, self.strides = tuple(channels), tuple(strides)
        self.rest: dict[
            str, Tensor
        ] = {}  # what a whole pyramid's weights hold beyond it, for the learner to begin with
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Maps at the strides that the decoder asked for, of ceil(h / stride) by ceil(w / stride) pixels.

        Raises:
            ValueError: The input does not have the channels that the encoder was built for.
        """
        if x.shape[1] != self.mean.shape[1]:
            raise ValueError(f"encoder: input has {x.shape[1]} channels, expected {self.mean.shape[1]}")
        return self.features((x - self.mean) / self.std)
