"""Networks of learners and meta-learner: built from settings, filled with the weights of a run, asked for depth."""

import hashlib
import json
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from base_learners import LEARNERS
from ensemble.runs.paths import Run
from ensemble.settings.schema import LearnerSettings, StackSettings
from ensemble.training.weights import read_weights
from meta.inputs import channel_count, normalisation
from meta.unet import MetaUNet

NetworkSettings = TypeVar("NetworkSettings", LearnerSettings, StackSettings)


def unloaded(settings: NetworkSettings) -> NetworkSettings:
    """Settings of the same network from random weights, for one whose weights come from a run or do not matter."""
    return settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"weights": "none"})})


def build_learner(settings: LearnerSettings) -> nn.Module:
    """A learner's network with its initial weights."""
    from base_learners.encoders.build import build_encoder  # timm takes longer to import than torch

    learner = LEARNERS[settings.learner]
    encoder = build_encoder(
        settings.encoder.name,
        needs=learner.needs,
        weights=settings.encoder.weights,
        arguments=settings.encoder.arguments,
        mean=settings.encoder.mean,
        std=settings.encoder.std,
    )
    return learner.network(encoder, max_depth=settings.data.max_depth, **settings.network)


def build_stack(settings: StackSettings) -> MetaUNet:
    """The meta-learner's network with its initial weights; it answers with equal weights for every learner."""
    from base_learners.encoders.build import build_encoder

    learners = len(settings.learners)
    mean, std = normalisation(
        settings.inputs, learners, image_mean=settings.encoder.mean, image_std=settings.encoder.std
    )
    encoder = build_encoder(
        settings.encoder.name,
        in_channels=channel_count(settings.inputs, learners),
        weights=settings.encoder.weights,
        arguments=settings.encoder.arguments,
        mean=mean,
        std=std,
    )
    return MetaUNet(encoder, learners=learners, **settings.network)


def weights_fingerprint(settings: LearnerSettings | StackSettings, run: Run) -> str:
    """Fingerprint of everything that turns an image into depth: the best weights and how the network is built."""
    built = settings.model_dump(mode="json", include={"learner", "network", "encoder"})
    built["encoder"].pop("weights")  # where training started from does not matter to what it ended with
    digest = hashlib.sha256(json.dumps(built, sort_keys=True).encode())
    digest.update(run.best.read_bytes())
    return digest.hexdigest()


def load_network(network: nn.Module, run: Run, prefix: str = "") -> nn.Module:
    """A network with the best weights of a run, ready to predict.

    Args:
        network: Of any weights.
        run: Whose weights it gets.
        prefix: Of the names of its weights, where the run's network has other parts as well.

    Raises:
        ValueError: The weights do not belong to this network.
    """
    try:
        weights = read_weights(run.best)
        own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        network.load_state_dict(own)
    except RuntimeError as error:
        raise ValueError(f"{run.best}: the weights do not belong to the network of {run.settings}: {error}") from error
    return network.eval()


def flip_averaged(predict: Callable[[Tensor], Tensor], image: Tensor, *, enabled: bool) -> Tensor:
    """The mean of a prediction and of the mirrored prediction of the mirrored image.

    Args:
        predict: Image [b c h w] -> map [b k h w].
        image: Anything that can be mirrored together with what is predicted.
        enabled: ``False`` predicts once.

    Source: Godard et al. 2017, section 4 (post-processing); the plain mean is what AdaBins and BTS report.
    """
    if not enabled:
        return predict(image)
    return (predict(image) + predict(image.flip(-1)).flip(-1)) / 2


def predict_depth(network: nn.Module, image: Tensor, settings: LearnerSettings, *, flip: bool | None = None) -> Tensor:
    """Depth [b 1 h w] in metres, float32, of images [b 3 h w] at the working size.

    Args:
        network: Of a learner.
        image: RGB in [0, 1].
        settings: What it was trained with.
        flip: Average with the mirrored image; as in the settings where absent.
    """
    precision = settings.training.precision
    kind = torch.float16 if precision == "16-mixed" else torch.bfloat16
    flip = settings.evaluation.flip_averaging if flip is None else flip
    with torch.autocast(image.device.type, dtype=kind, enabled=precision != "32-true"):
        return flip_averaged(lambda view: network(view).depth.float(), image, enabled=flip)
