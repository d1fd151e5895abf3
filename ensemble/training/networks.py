"""Networks of the learners and of the meta-learner: built from settings, filled with the weights of a run."""

import json
from typing import TypeVar

from torch import nn

from base_learners import LEARNERS
from base_learners.encoders.build import build_encoder
from ensemble.runs.paths import Run
from ensemble.runs.seals import fingerprint_of, read_bytes
from ensemble.settings.schema import LearnerSettings, StackSettings
from ensemble.training.checkpoints import read_weights
from meta.inputs import channel_count, normalisation
from meta.unet import MetaUNet

NetworkSettings = TypeVar("NetworkSettings", LearnerSettings, StackSettings)


def unloaded(settings: NetworkSettings) -> NetworkSettings:
    """Settings of the same network from random weights, for one whose weights come from a run or do not matter."""
    return settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"weights": "none"})})


def build_learner(settings: LearnerSettings) -> nn.Module:
    """A learner's network with its initial weights."""
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
    """Fingerprint of everything that turns an image into depth: the best weights and how the network is built.

    Raises:
        DamagedError: The weights are not those that were written.
    """
    built = settings.model_dump(mode="json", include={"learner", "network", "encoder"})
    built["encoder"].pop("weights")  # where training started from does not matter to what it ended with
    return fingerprint_of(run.best, json.dumps(built, sort_keys=True).encode())


def sealed_weights(run: Run) -> str | None:
    """The same of weights that were written just now, by the settings on disk; ``None`` where there are none.

    Raises:
        DamagedError: The weights are not those that were written.
    """
    if not run.settings.is_file():
        return None
    settings = json.loads(read_bytes(run.settings))
    built = {key: settings[key] for key in ("learner", "network", "encoder") if key in settings}
    built["encoder"].pop("weights")
    return fingerprint_of(run.best, json.dumps(built, sort_keys=True).encode())


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
