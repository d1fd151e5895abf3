"""Learners and meta-learner as one network, for training them together instead of from cached predictions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from base_learners.contract import DepthPrediction
from ensemble.data.loaders import Batch
from ensemble.training.optimisation.groups import ParameterGroup, encoder_and_decoder
from ensemble.training.tasks import Losses

META = "meta"
"""Name of the meta-learner among the parts."""

Weigh = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(meta-learner, image [b 3 h w], depths [b k h w] in metres) -> fused depth [b 1 h w] in metres."""


@dataclass(frozen=True)
class LiveAnswer:
    """What a live stack returns."""

    predictions: Mapping[str, DepthPrediction]  # of every learner
    depths: Tensor  # metres, [b k h w], as the meta-learner has seen them
    depth: Tensor  # fused depth in metres, [b 1 h w]


class LiveStack(nn.Module):
    """Learners, networks from image to ``DepthPrediction``, whose depths a meta-learner fuses in their order.

    Statistics ``frozen`` keep the running means and variances of the learners' batch norms, and normalise with them:
    right for learners that go on from finished runs with small batches. ``live`` lets them move. Scales and shifts of
    batch norms are trained in both cases; the meta-learner's own statistics always move. With ``detach`` the loss of
    the stack ends at the learners' depths, so that they learn from their own losses alone.

    Raises:
        ValueError: Fewer than two learners, or one called ``meta``.
    """

    def __init__(
        self,
        learners: Mapping[str, nn.Module],
        meta: nn.Module,
        *,
        weigh: Weigh,
        statistics: Literal["frozen", "live"],
        detach: bool = False,
    ) -> None:
        super().__init__()
        if len(learners) < 2 or META in learners:
            found = ", ".join(learners)
            raise ValueError(f"live stack: found learners {found}; expected two or more, none of them named {META}")
        self.learners = nn.ModuleDict(learners)
        self.meta = meta
        self._weigh, self._detach = weigh, detach
        self._statistics = statistics
        self.train()

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The learners, and the meta-learner."""
        return {**self.learners, META: self.meta}

    def train(self, mode: bool = True) -> "LiveStack":
        """Switch between training and prediction; frozen statistics stay as they are."""
        super().train(mode)
        if self._statistics == "frozen":
            for module in self.learners.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, image: Tensor) -> LiveAnswer:
        """Predictions of all learners and the depth fused from them.

        Raises:
            FloatingPointError: The depth of a learner is not finite; it is named.
        """
        predictions = {name: self.learners[name](image) for name in self.learners}
        depths = torch.cat([prediction.depth.float() for prediction in predictions.values()], dim=1)
        faulty = (~depths.isfinite()).any(dim=(0, 2, 3)).tolist()
        if any(faulty):
            named = ", ".join(name for name, bad in zip(predictions, faulty, strict=True) if bad)
            raise FloatingPointError(f"the depth of {named} is not finite")
        seen = depths.detach() if self._detach else depths
        return LiveAnswer(predictions, seen, self._weigh(self.meta, image, seen))


def live_losses(
    stack: Callable[[Tensor, Batch], Tensor],
    learners: Mapping[str, Losses],
    *,
    loss_weights: Mapping[str, float] | None = None,
) -> Losses:
    """The stack's loss as term ``stack``, plus every learner's own terms as ``<learner>/<term>``.

    Factors of the learners' terms are one where absent; a learner of factor zero has no terms.

    Raises:
        ValueError: A factor is for a learner that has no losses here.
    """
    factors = {**dict.fromkeys(learners, 1.0), **(loss_weights or {})}
    if unknown := sorted(set(factors) - set(learners)):
        raise ValueError(f"loss weights: found {', '.join(unknown)}, expected some of {', '.join(learners)}")

    def losses(answer: LiveAnswer, batch: Batch) -> Mapping[str, Tensor]:
        terms = {"stack": stack(answer.depth, batch)}
        for name, own in learners.items():
            if factors[name]:
                found = own(answer.predictions[name], batch)
                terms |= {f"{name}/{term}": factors[name] * value for term, value in found.items()}
        return terms

    return losses


@dataclass(frozen=True)
class Rates:
    """Learning rates of a part."""

    lr: float  # largest learning rate
    encoder_lr_factor: float = 1.0  # that of its encoder as a multiple of ``lr``


def live_groups(network: nn.Module, *, rates: Mapping[str, Rates]) -> list[ParameterGroup]:
    """Encoder and decoder of every trained part of a ``LiveStack``, the meta-learner last, at the rates by its name.

    Raises:
        ValueError: The network is something else, or the rates are not those of its parts.
    """
    if not isinstance(network, LiveStack):
        raise ValueError(f"live groups: found a {type(network).__name__}, expected a LiveStack")
    parts = network.parts
    if set(parts) != set(rates):
        raise ValueError(
            f"learning rates: found those of {', '.join(rates)}, expected exactly one for each of {', '.join(parts)}"
        )
    groups: list[ParameterGroup] = []
    for name, part in parts.items():
        own = rates[name]
        groups += encoder_and_decoder(part, lr=own.lr, encoder_lr_factor=own.encoder_lr_factor, prefix=f"{name}/")
    return groups
