"""What every base learner promises: a network from image to metres, a loss recipe, and the row it was published as."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor, nn

from base_learners.encoders.pyramid import FIVE, Pyramid


@dataclass(frozen=True)
class DepthPrediction:
    """What a network returns: metres at the size of the input, and ascending centres of bins (metres) if any."""

    depth: Float[Tensor, "b 1 h w"]
    bin_centres: Float[Tensor, "b bins"] | None = None


Network = Callable[..., nn.Module]
"""Builds the network: ``network(encoder, max_depth=..., **arguments)``; YAML holds every argument's default."""

LossRecipe = Callable[..., Mapping[str, Tensor]]
"""``loss(prediction, target, valid, **arguments)`` -> named terms, already weighted; their sum is minimised.

Depth is metres; the target is read only where ``valid`` is true, and a ``ValueError`` says that no pixel is.
"""


@dataclass(frozen=True)
class Published:
    """The row of the published study (GhostNet learners, 24,231 training and 654 test images of NYU Depth v2).

    Attributes:
        parameters: Trainable parameters of the rebuilt network.
        mul_adds: Multiply-adds of one 416x544 image.
        frames_per_second: On a GTX 1080 Ti; ``None`` for a meta-learner, of which only the whole stack was timed.
        scores: d1, d2, d3, abs_rel, sq_rel, rmse, rmse_log, log10; empty for a meta-learner.
    """

    parameters: int
    mul_adds: float
    frames_per_second: float | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class BaseLearner:
    """One line of ``LEARNERS``: everything the application needs to know of a learner.

    Attributes:
        name: Key in ``LEARNERS`` and name of its YAML file in ``configs/base``.
        title: Name as in its paper.
        published: Row to print beside ours; ``None`` for a learner that the study did not have.
        needs: What its network asks of the encoder that it is given.
    """

    name: str
    title: str
    network: Network
    loss: LossRecipe
    published: Published | None = None
    needs: Pyramid = FIVE


DepthTarget = Float[Tensor, "b 1 h w"]
ValidMask = Bool[Tensor, "b 1 h w"]
