"""What every base learner promises: a network from image to metres, and a loss recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor, nn

from base_learners.encoders.pyramid import FIVE, Pyramid


@dataclass(frozen=True)
class DepthPrediction:
    """What a network returns: metres at the size of the input, and ascending centres of bins (metres) if any."""

    depth: Float[Tensor, "b 1 h w"]
    bin_centres: Float[Tensor, "b bins"] | None = None


MapsByStride = Mapping[int, Float[Tensor, "b _c _h _w"]]
"""Maps of a decoder by their stride: pixels of the image per pixel of a map."""


@runtime_checkable
class HandsOutMaps(Protocol):
    """A network whose decoder can be compared with that of another one."""

    def with_maps(self, image: Float[Tensor, "b 3 h w"]) -> tuple[DepthPrediction, MapsByStride]:
        """What calling the network returns, with the maps of its decoder at strides 16, 8, 4 and 2."""
        ...


Network = Callable[..., nn.Module]
"""Builds the network: ``network(encoder, max_depth=..., **arguments)``; YAML holds every argument's default."""

LossRecipe = Callable[..., Mapping[str, Tensor]]
"""``loss(prediction, target, valid, **arguments)`` -> named terms, already weighted; their sum is minimised.

Depth is metres; the target is read only where ``valid`` is true, and a ``ValueError`` says that no pixel is.
"""


@dataclass(frozen=True)
class BaseLearner:
    """One line of ``LEARNERS``: everything the application needs to know of a learner.

    Attributes:
        name: Key in ``LEARNERS`` and name of its YAML file in ``configs/base``.
        title: Name as in its paper.
        needs: What its network asks of the encoder that it is given.
    """

    name: str
    title: str
    network: Network
    loss: LossRecipe
    needs: Pyramid = FIVE

    @property
    def hands_out_maps(self) -> bool:
        """Whether its decoder can be compared with that of another one."""
        kind = self.network.func if isinstance(self.network, partial) else self.network
        return hasattr(kind, HandsOutMaps.with_maps.__name__)


DepthTarget = Float[Tensor, "b 1 h w"]
ValidMask = Bool[Tensor, "b 1 h w"]
