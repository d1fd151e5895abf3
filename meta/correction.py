"""A stack that corrects: the weighted log-mean, a scale of the whole image, and a residual of the pixel.

``log depth = sum_k weight_k log depth_k + s1 * scale(image) + s2 * residual(pixel)``, where the weights are the same
everywhere and the residual has mean 0 over the image, so that it cannot do the scale's work. Both corrections are
weak, and the strengths ``s1`` and ``s2`` in [0, 1] say how much of them carries over to scenes that they were not
fitted to. With strengths of 0, or untrained, this is the weighted log-mean and nothing else.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meta.scale_features import pooled, statistics, statistics_count


@runtime_checkable
class Features(Protocol):
    """A frozen encoder of images: a module from RGB in [0, 1] to maps, the deepest last, with their channels."""

    channels: tuple[int, ...]

    def __call__(self, image: Tensor, /) -> list[Tensor]:
        """Maps, finest first."""
        ...


class ScaleHead(nn.Module):
    """Log scale of whole images: kernel ridge regression on principal components of features, and on statistics.

    All that was fitted is kept as buffers, whose lengths follow from the rows that it was fitted to; without any rows
    the scale is 0. The kernel is ``exp(-gamma |x - y|^2)``, so that an image unlike all rows has the scale 0 as well.

    Args:
        encoder: Pretrained and never trained here; a module as well.
        learners: Whose depths it sees.
    """

    pooled_mean: Tensor  # of the pooled features
    components: Tensor  # principal axes of the pooled features, one a row
    mean: Tensor  # of components and statistics
    deviation: Tensor
    rows: Tensor  # standardised, one a row that it was fitted to
    dual: Tensor  # log scale, one number a row
    gamma: Tensor

    def __init__(self, encoder: Features, *, learners: int) -> None:
        super().__init__()
        self.encoder = encoder
        channels, count = encoder.channels[-1], statistics_count(learners)
        empty = {
            "pooled_mean": torch.zeros(channels),
            "components": torch.zeros(0, channels),
            "mean": torch.zeros(count),
            "deviation": torch.ones(count),
            "rows": torch.zeros(0, count),
            "dual": torch.zeros(0),
            "gamma": torch.ones(()),
        }
        for name, value in empty.items():
            self.register_buffer(name, value)
        self.register_load_state_dict_pre_hook(_take_lengths)
        self.requires_grad_(requires_grad=False)
        self.train(mode=False)

    def train(self, mode: bool = True) -> "ScaleHead":
        """It never trains: statistics of batch norms stay those of the pretrained encoder."""
        return super().train(mode=False)

    def seen(
        self, image: Float[Tensor, "b 3 h w"], depths: Float[Tensor, "b k h w"], weights: Float[Tensor, " k"]
    ) -> tuple[Float[Tensor, "b c"], Float[Tensor, "b statistics"]]:
        """Pooled features and statistics of images, before anything that is fitted."""
        return pooled(self.encoder(image)[-1].float()), statistics(image, depths, weights)

    def forward(
        self, image: Float[Tensor, "b 3 h w"], depths: Float[Tensor, "b k h w"], weights: Float[Tensor, " k"]
    ) -> Float[Tensor, " b"]:
        """What is to be added to the log depth of whole images in [0, 1], of learners' depths in metres."""
        if not len(self.dual):
            return depths.new_zeros(len(depths))
        features, numbers = self.seen(image, depths, weights)
        projected = (features - self.pooled_mean) @ self.components.T
        standardised = (torch.cat([projected, numbers], dim=1) - self.mean) / self.deviation
        squared = (standardised[:, None] - self.rows[None]).square().sum(dim=2)
        return (-self.gamma * squared).exp() @ self.dual


def _take_lengths(head: nn.Module, state_dict: Mapping[str, Tensor], prefix: str, *_: Any) -> None:
    """Make room for buffers of any length: how many rows there were is known of the weights alone."""
    for name, buffer in list(head.named_buffers(recurse=False)):
        if (value := state_dict.get(prefix + name)) is not None:
            head.register_buffer(name, torch.empty(value.shape, dtype=buffer.dtype, device=buffer.device))


class Correction(nn.Module):
    """Weights of the log-mean, the head of the scale, and the strengths of both corrections.

    Args:
        learners: How many; they weigh the same until weights are given.
        scale: Absent where there is none to be corrected.
    """

    weights: Tensor  # of sum 1
    strengths: Tensor  # s1 of the scale and s2 of the residual, each in [0, 1]

    def __init__(self, learners: int, scale: ScaleHead | None = None) -> None:
        super().__init__()
        self.register_buffer("weights", torch.full((learners,), 1 / learners))
        self.register_buffer("strengths", torch.tensor([0.0, 1.0]))  # as the residual is trained: alone, and whole
        self.scale = scale

    def maps(self, residual: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b maps h w"]:
        """Weights of the learners, then the correction by the residual, without its mean over the image."""
        batch, _, height, width = residual.shape
        weights = self.weights.view(1, -1, 1, 1).expand(batch, -1, height, width)
        return torch.cat([weights, self.strengths[1] * (residual - residual.mean(dim=(2, 3), keepdim=True))], dim=1)

    def with_scale(
        self,
        maps: Float[Tensor, "b maps h w"],
        image: Float[Tensor, "b 3 h w"],
        depths: Float[Tensor, "b k h w"],
    ) -> Float[Tensor, "b maps h w"]:
        """The same maps, with the scale of the image added to the correction."""
        if self.scale is None:
            return maps
        scale = self.strengths[0] * self.scale(image, depths, self.weights)
        return torch.cat([maps[:, :-1], maps[:, -1:] + scale.view(-1, 1, 1, 1)], dim=1)
