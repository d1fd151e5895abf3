"""Networks of learners and meta-learner: built from settings, filled with the weights of a run, asked for depth."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from base_learners import LEARNERS
from ensemble.console import messages
from ensemble.runs.paths import Run
from ensemble.runs.seals import fingerprint_of, read_bytes
from ensemble.settings.encoders import weights_file
from ensemble.settings.schema import EncoderSettings, LearnerSettings, StackSettings
from ensemble.settings.trees import SettingsError
from ensemble.training.weights import read_weights
from meta.correction import Correction, ScaleHead
from meta.inputs import channel_count, normalisation
from meta.unet import MetaUNet

BUILT = ("learner", "architecture", "network", "encoder")
"""Settings that say how a network is built; an architecture stands there where it is not the learner's name."""

NetworkSettings = TypeVar("NetworkSettings", LearnerSettings, StackSettings)


def unloaded(settings: NetworkSettings) -> NetworkSettings:
    """Settings of the same network from random weights, for one whose weights come from a run or do not matter."""
    return settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"weights": "none"})})


@contextmanager
def _named() -> Iterator[None]:
    """What a network refuses is a mistake in what was asked."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(str(error)) from error


@_named()
def build_learner(settings: LearnerSettings) -> nn.Module:
    """A learner's network with its initial weights."""
    from base_learners.encoders.build import build_encoder  # timm takes longer to import than torch

    learner, most = LEARNERS[settings.architecture], settings.data.max_depth
    least = settings.network.get("min_depth", settings.data.min_depth)
    if not 0 < least < most:
        raise ValueError(f"{learner.title}: network.min_depth {least} m, expected above 0 and below {most} m")
    encoder = build_encoder(needs=learner.needs, **_given(settings.encoder))
    return learner.network(encoder, max_depth=most, **settings.network)


def _given(encoder: EncoderSettings) -> dict[str, Any]:
    """Arguments of an encoder, with the file of its weights."""
    return {**dict(encoder), "weights": weights_file(encoder.weights)}


def title_of(settings: LearnerSettings) -> str:
    """A learner's name for people: that of its paper, or the one that an experiment file gave it."""
    return LEARNERS[settings.learner].title if settings.architecture == settings.learner else settings.learner


def check_learner(settings: LearnerSettings) -> None:
    """Refuse a network that cannot be built before anything is written; pretrained weights are not fetched for it.

    Where a file of weights leaves parts of a network as they are, it says which.

    Raises:
        SettingsError: There is no such encoder, file of weights or argument, or pretrained weights cannot be fetched.
    """
    check_pretrained(settings.encoder)
    network = build_learner(unloaded(settings) if settings.encoder.weights == "imagenet" else settings)
    if unfilled := getattr(network, "unfilled", ()):
        messages.print(
            f"{title_of(settings)}: {settings.encoder.weights} fills all but {len(unfilled)} of "
            f"{len(network.state_dict())} tensors, which start from random numbers: {_parts(unfilled)}"
        )


def _parts(names: Sequence[str]) -> str:
    """Names of tensors; where they are many, the parts of the network that they belong to, with how many of each."""
    if len(names) <= 12:
        return ", ".join(names)
    return ", ".join(f"{part} ({count})" for part, count in Counter(name.partition(".")[0] for name in names).items())


@_named()
def check_pretrained(*encoders: EncoderSettings) -> None:
    """Refuse pretrained weights that cannot be fetched before anybody has waited for frames or rows.

    Raises:
        SettingsError: They are not on this machine, and the hub does not answer.
    """
    from base_learners.encoders.build import check_imagenet

    for encoder in encoders:
        if encoder.weights == "imagenet":
            check_imagenet(encoder.name)


@_named()
def build_stack(settings: StackSettings) -> MetaUNet:
    """The meta-learner's network with its initial weights: equal ones, or as often as each learner counts.

    One that corrects has the encoder a second time, of the image alone, and frozen; its weights are fitted.
    """
    from base_learners.encoders.build import build_encoder

    learners = len(settings.learners)
    mean, std = normalisation(
        settings.inputs, learners, image_mean=settings.encoder.mean, image_std=settings.encoder.std
    )
    arguments = {**_given(settings.encoder), "mean": mean, "std": std}
    encoder = build_encoder(in_channels=channel_count(settings.inputs, learners), **arguments)
    correction = Correction(learners, build_scale(settings)) if settings.corrects else None
    network = MetaUNet(encoder, learners=learners, correction=correction, **settings.network)
    if settings.copies:
        network.begin_with([settings.copies.get(name, 1) for name in settings.learners])
    return network


@_named()
def build_scale(settings: StackSettings) -> ScaleHead:
    """The head that corrects the scale of images, before it is fitted, over the encoder with its initial weights."""
    from base_learners.encoders.build import build_encoder

    return ScaleHead(build_encoder(**_given(settings.encoder)), learners=len(settings.learners))


def weights_fingerprint(settings: LearnerSettings | StackSettings, run: Run) -> str:
    """Fingerprint of everything that turns an image into depth: the best weights and how the network is built.

    Raises:
        DamagedError: The weights are not those that were written.
    """
    built = settings.model_dump(mode="json", include={*BUILT})
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
    built = {key: settings[key] for key in BUILT if key in settings}
    built["encoder"].pop("weights")
    return fingerprint_of(run.best, json.dumps(built, sort_keys=True).encode())


def load_network(network: nn.Module, run: Run, prefix: str = "") -> nn.Module:
    """A network with the best weights of a run, whose names begin with ``prefix``; refuses those of another one."""
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
