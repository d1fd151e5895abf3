"""What every base learner promises: a network from image to metres, and a loss recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor, nn

from base_learners.encoders.pyramid import FIVE, Pyramid


@dataclass(frozen=True)
class DepthPrediction:
    """What a network returns.

    Attributes:
        depth: Metres at the size of the input.
        bin_centres: Of bins, in metres, ascending, if there are any.
        decoder: Maps of the decoder at strides 16, 8, 4 and 2 with their skips in, of ``ceil(h / stride)`` by
            ``ceil(w / stride)``; empty where a network keeps none, which then cannot teach the affinity of places.
    """

    depth: Float[Tensor, "b 1 h w"]
    bin_centres: Float[Tensor, "b bins"] | None = None
    decoder: tuple[Float[Tensor, "b _ _ _"], ...] = ()


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


DepthTarget = Float[Tensor, "b 1 h w"]
ValidMask = Bool[Tensor, "b 1 h w"]
