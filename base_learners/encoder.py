"""The pyramid of features that every decoder reads, from any timm model with five strides; the only file with timm.

timm takes longer to import than torch, so it is imported where a network is built.

Source: Han et al. 2020, GhostNet. timm's own ``features_only`` of GhostNet taps shallow maps and drops two thirds of
the network, so its pyramid is cut here: the deepest map of every stride.
"""

import difflib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor, nn

REDUCTIONS = (2, 4, 8, 16, 32)
WAY_OUT = "Give a file with --set encoder.weights=FILE, or train without one with --set encoder.weights=none."


class GhostPyramid(nn.Module):
    """GhostNet up to its last 1x1 convolution, without the classifier; parameters keep timm's names.

    Args:
        model: The whole timm classifier, a ``GhostNet``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.conv_stem, self.bn1, self.act1, self.blocks = model.conv_stem, model.bn1, model.act1, model.blocks
        strided = [int(str(info["module"]).removeprefix("blocks.")) for info in model.feature_info[1:]]
        self.taps = (*(stage - 1 for stage in strided), len(self.blocks) - 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Run every stage and keep the deepest map of each stride."""
        x = self.act1(self.bn1(self.conv_stem(x)))
        maps = []
        for index, stage in enumerate(self.blocks):
            x = stage(x)
            if index in self.taps:
                maps.append(x)
        return maps


class Encoder(nn.Module):
    """Normalises its input and returns five maps, finest first.

    Attributes:
        channels: Channels of the five maps.

    Args:
        features: Module from the normalised input to the five maps.
        channels: Channels of the five maps.
        mean: Mean of every input channel.
        std: Standard deviation of every input channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, features: nn.Module, channels: Sequence[int], *, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.features = features
        self.channels = tuple(channels)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Five maps at strides 2, 4, 8, 16 and 32.

        Raises:
            ValueError: The input does not have the channels that the encoder was built for.
        """
        if x.shape[1] != self.mean.shape[1]:
            raise ValueError(f"encoder: input has {x.shape[1]} channels, expected {self.mean.shape[1]}")
        return self.features((x - self.mean) / self.std)


def build_encoder(
    name: str = "ghostnet_100",
    *,
    in_channels: int = 3,
    weights: str = "none",
    arguments: Mapping[str, Any] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Encoder:
    """Build the feature pyramid of a timm model.

    Args:
        name: Any timm model with maps at strides 2, 4, 8, 16 and 32.
        in_channels: Input channels; the first convolution of given weights is tiled and scaled to them as timm does.
        weights: ``none``; ``imagenet`` for timm's pretrained ones; or a safetensors or PyTorch file.
        arguments: Further arguments of timm's ``create_model``.
        mean: Mean of every input channel; timm's own for the model where absent.
        std: Standard deviation of every input channel, likewise.

    Raises:
        ValueError: The model is unknown or has other strides, the weights cannot be had or do not fit, or the
            normalisation does not have one value per input channel.
    """
    from timm.models.ghostnet import GhostNet

    create = {"in_chans": in_channels, **(arguments or {})}
    pretrained = weights == "imagenet"
    plain = _create(name, **create)
    own = plain.pretrained_cfg
    mean = _per_channel("mean", mean or own["mean"], in_channels)
    std = _per_channel("std", std or own["std"], in_channels)
    features: Any
    if isinstance(plain, GhostNet):
        features = GhostPyramid(_create(name, pretrained=True, **create) if pretrained else plain)
        channels = _ghost_channels(features)
    else:
        features = _create(name, pretrained=pretrained, features_only=True, **create)
        channels, strides = features.feature_info.channels(), tuple(features.feature_info.reduction())
        if strides != REDUCTIONS:
            raise ValueError(
                f"encoder {name}: has maps at strides {strides}, expected {REDUCTIONS}; take another model"
            )
    if weights not in ("none", "imagenet"):
        first = own["first_conv"]
        stems = {f"{stem}.weight" for stem in ([first] if isinstance(first, str) else first)}
        load_weights(features, Path(weights), known=set(plain.state_dict()), stems=stems)
    return Encoder(features, channels, mean=mean, std=std)


def load_weights(features: nn.Module, path: Path, *, known: set[str], stems: set[str]) -> None:
    """Copy a file's parameters into a pyramid, in timm's naming (the official GhostNet file has the same).

    Args:
        features: The pyramid; models that timm flattens have ``_`` where the file has a dot.
        path: A safetensors file, or a PyTorch file of plain tensors.
        known: Keys of the whole classifier; those that the pyramid does not use are skipped.
        stems: Keys of the weights that depend on the number of input channels.

    Raises:
        ValueError: A key is missing, unknown or of another shape, or the file cannot be read safely.
    """
    from timm.models import adapt_input_conv

    found = read_tensors(path)
    if any(key.startswith("features.") for key in found) and not any(key.startswith("features.") for key in known):
        raise ValueError(
            f"{path}: is in the older GhostNet layout (keys 'features.N...'), expected the naming of timm and of the "
            f"official state_dict_73.98.pth ('conv_stem.weight', 'blocks.0.0...'). {WAY_OUT}"
        )
    unknown = sorted(set(found) - known)
    given = {key.replace(".", "_"): key for key in found}
    state, missing, misshapen = {}, [], []
    for key, parameter in features.state_dict().items():
        source = given.get(key.replace(".", "_"))
        if source is None:
            state[key] = parameter
            if not key.endswith("num_batches_tracked"):
                missing.append(key)
            continue
        value = found[source]
        if source in stems and value.ndim == 4 and value.shape[1] == 3:
            value = adapt_input_conv(parameter.shape[1], value)
        if value.shape != parameter.shape:
            misshapen.append(f"{source} {tuple(value.shape)} instead of {tuple(parameter.shape)}")
        state[key] = value
    faults = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
    if any(faults.values()):
        listed = "; ".join(f"{len(keys)} {fault} (first: {keys[0]})" for fault, keys in faults.items() if keys)
        raise ValueError(f"{path}: does not fit the encoder: {listed}. {WAY_OUT}")
    features.load_state_dict(state)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a safetensors or PyTorch file, by name; nothing in the file is executed.

    Raises:
        ValueError: The file is absent, damaged, or holds anything but named tensors.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file of encoder weights. {WAY_OUT}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, safetensors.SafetensorError, RuntimeError, ValueError, OSError, EOFError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{path}: refused, not a readable file of plain tensors ({reason}). {WAY_OUT}") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(
            f"{path}: expected a state dictionary of named tensors, found {type(content).__name__}. {WAY_OUT}"
        )
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _create(name: str, *, pretrained: bool = False, **arguments: Any) -> Any:
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise ValueError(f"encoder {name}: timm has no such model{', nearest: ' + ', '.join(near) if near else ''}")
    try:
        return timm.create_model(name, pretrained=pretrained, **arguments)
    except TypeError as error:
        raise ValueError(f"encoder {name}: encoder.arguments do not fit the model: {error}") from error
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise
        raise ValueError(f"encoder {name}: timm's ImageNet weights cannot be had ({error}). {WAY_OUT}") from error


def _ghost_channels(pyramid: GhostPyramid) -> list[int]:
    with torch.no_grad():
        was_training = pyramid.training
        maps = pyramid.eval()(torch.zeros(1, pyramid.conv_stem.in_channels, 64, 64))
        pyramid.train(was_training)
    return [single.shape[1] for single in maps]


def _per_channel(what: str, values: Sequence[float], in_channels: int) -> tuple[float, ...]:
    if len(values) != in_channels:
        raise ValueError(f"encoder.{what}: expected {in_channels} values, one per input channel, found {len(values)}")
    return tuple(float(value) for value in values)
