"""Builds what a decoder needs out of a timm model; the only file with timm.

Source: Han et al. 2020, GhostNet. timm's own ``features_only`` of GhostNet taps shallow maps and drops two thirds of
the network, so its pyramid is cut here: the deepest map of every stride.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from base_learners.encoders.deferred import unused_deferred
from base_learners.encoders.hub import asked_once, is_fetched, silence_of_hub
from base_learners.encoders.pyramid import FIVE, Encoder, Pyramid
from base_learners.encoders.weights import WAY_OUT, load_weights

with unused_deferred():
    import timm
    from timm.layers.conv2d_same import Conv2dSame
    from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
    from timm.layers.std_conv import ScaledStdConv2dSame, StdConv2dSame
    from timm.models import adapt_input_conv
    from timm.models.efficientnet import EfficientNet
    from timm.models.ghostnet import GhostNet
    from timm.models.vision_transformer import VisionTransformer

Network = TypeVar("Network", bound=nn.Module)

FITTING = "ghostnet_100, mobilenetv2_100, resnet18 and tf_efficientnet_b0"
"""Models with all of the strides of ``FIVE``, so that any part of it can be had from them."""


_PADDED_BY_SIZE = (Conv2dSame, StdConv2dSame, ScaledStdConv2dSame, AvgPool2dSame, MaxPool2dSame)
"""Layers that pad as in TensorFlow."""


def with_constant_padding(network: Network) -> Network:
    """The same network for images whose sides its strides divide: what is padded as in TensorFlow then never changes.

    Otherwise the padding follows from the size of every map, and ``torch.export`` of open sizes (2.15) takes minutes to
    reason about it, if it ends.

    Args:
        network: That is changed; it says the same of such images.
    """
    for name, layer in list(network.named_modules()):
        if not isinstance(layer, nn.Conv2d) or type(layer) is not Conv2dSame:
            continue
        whole = _padding(layer, layer.stride)
        (above, left), (below, right) = [side // 2 for side in whole], [side - side // 2 for side in whole]
        plain = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            (layer.kernel_size[0], layer.kernel_size[1]),
            (layer.stride[0], layer.stride[1]),
            dilation=(layer.dilation[0], layer.dilation[1]),
            groups=layer.groups,
            bias=layer.bias is not None,
        )
        plain.weight, plain.bias = layer.weight, layer.bias
        network.set_submodule(name, nn.Sequential(nn.ZeroPad2d((left, right, above, below)), plain))
    return network


def padded_by_size(network: nn.Module, image: Float[Tensor, "b c h w"]) -> list[tuple[int, int]]:
    """Height and width of every map of an image that is padded otherwise than where strides divide its sides.

    Args:
        network: Called with the image.
        image: Numbers in it do not matter.
    """
    found = []

    def look(layer: Any, given: tuple[Tensor, ...]) -> None:
        sides = (given[0].shape[-2], given[0].shape[-1])
        if _padding(layer, sides) != _padding(layer, _both(layer.stride)):
            found.append(sides)

    hooks = [each.register_forward_pre_hook(look) for each in network.modules() if isinstance(each, _PADDED_BY_SIZE)]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _both(sides: int | Sequence[int]) -> tuple[int, int]:
    return (sides, sides) if isinstance(sides, int) else (sides[0], sides[1])


def _padding(layer: Any, sides: Sequence[int]) -> list[int]:
    """Rows and columns that TensorFlow adds to a map of these sides."""
    kernels, strides, dilations = (
        _both(each) for each in (layer.kernel_size, layer.stride, getattr(layer, "dilation", 1))
    )
    return [
        max((-(-side // stride) - 1) * stride + dilation * (kernel - 1) + 1 - side, 0)
        for side, kernel, stride, dilation in zip(sides, kernels, strides, dilations, strict=True)
    ]


class GhostPyramid(nn.Module):
    """GhostNet up to its last 1x1 convolution, without the classifier; parameters keep timm's names.

    Stages after the last of the strides are left out.
    """

    def __init__(self, model: GhostNet, strides: Sequence[int] = FIVE.strides) -> None:
        super().__init__()
        strided = [int(str(info["module"]).removeprefix("blocks.")) for info in model.feature_info[1:]]
        deepest = dict(zip(FIVE.strides, (*(stage - 1 for stage in strided), len(model.blocks) - 1), strict=True))
        self.taps = tuple(deepest[stride] for stride in strides)
        self.conv_stem, self.bn1, self.act1 = model.conv_stem, model.bn1, model.act1
        self.blocks = model.blocks[: self.taps[-1] + 1]

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Run every stage and keep the deepest map of each stride."""
        x = self.act1(self.bn1(self.conv_stem(x)))
        maps = []
        for index, stage in enumerate(self.blocks):
            x = stage(x)
            if index in self.taps:
                maps.append(x)
        return maps


class HybridPyramid(nn.Module):
    """The convolutions of a hybrid of ResNet and vision transformer; parameters keep timm's names."""

    def __init__(self, model: VisionTransformer) -> None:
        super().__init__()
        backbone: Any = model.patch_embed.backbone
        self.patch_embed = nn.ModuleDict({"backbone": backbone})

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """The maps of the first two stages, and the deepest one."""
        backbone: Any = self.patch_embed["backbone"]
        x, maps = backbone.stem(x), []
        for stage in backbone.stages:
            x = stage(x)
            maps.append(x)
        return [*maps[:2], maps[-1]]


class WholePyramid(nn.Module):
    """Every layer of an EfficientNet or MobileNet before its classifier; parameters keep timm's names."""

    def __init__(self, model: EfficientNet, strides: Sequence[int]) -> None:
        super().__init__()
        stages = {info["reduction"]: int(str(info["module"]).removeprefix("blocks.")) for info in model.feature_info}
        self.taps = tuple(stages[stride] for stride in strides[:-1])
        self.conv_stem, self.bn1, self.blocks = model.conv_stem, model.bn1, model.blocks
        self.conv_head, self.bn2 = model.conv_head, model.bn2

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """The deepest map of each stride, the last one behind the last 1x1 convolution."""
        x, maps = self.bn1(self.conv_stem(x)), []
        for index, stage in enumerate(self.blocks):
            x = stage(x)
            if index in self.taps:
                maps.append(x)
        return [*maps, self.bn2(self.conv_head(x))]


def build_encoder(
    name: str = "ghostnet_100",
    *,
    needs: Pyramid = FIVE,
    in_channels: int = 3,
    weights: str = "none",
    arguments: Mapping[str, Any] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Encoder:
    """Build the feature pyramid of a timm model.

    Args:
        name: Any timm model with maps at the strides that are needed; it may have more.
        needs: What the decoder asks for.
        in_channels: Input channels; the first convolution of given weights is tiled and scaled to them as timm does.
        weights: ``none``; ``imagenet`` for timm's pretrained ones; or a safetensors or PyTorch file.
        arguments: Further arguments of timm's ``create_model``.
        mean: Mean of every input channel; timm's own for the model where absent.
        std: Standard deviation of every input channel, likewise.

    Raises:
        ValueError: The model is unknown or does not have what is needed, the weights cannot be had or do not fit, or
            the normalisation does not have one value per input channel.
    """
    create = {"in_chans": in_channels, **(arguments or {})}
    pretrained = weights == "imagenet"
    plain = _create(name, **create)
    own = plain.pretrained_cfg
    mean = _per_channel("mean", mean or own["mean"], in_channels)
    std = _per_channel("std", std or own["std"], in_channels)
    features: Any
    strides, rest = needs.strides, {}
    if needs.whole and isinstance(plain, EfficientNet | VisionTransformer):
        model = _create(name, pretrained=True, **create) if pretrained else plain
        features, channels, strides = _whole(name, model, needs)
        known = set(features.state_dict())
        rest = {key: value for key, value in model.state_dict().items() if pretrained and key not in known}
    elif isinstance(plain, GhostNet):
        _check_strides(name, FIVE.strides, needs)
        features = GhostPyramid(_create(name, pretrained=True, **create) if pretrained else plain, needs.strides)
        channels = _ghost_channels(features)
    else:
        features = _create(name, pretrained=pretrained, features_only=True, **create)
        found = tuple(features.feature_info.reduction())
        _check_strides(name, found, needs)
        if found != needs.strides:
            levels = [found.index(stride) for stride in needs.strides]
            features = _create(name, pretrained=pretrained, features_only=True, out_indices=levels, **create)
        channels = features.feature_info.channels()
    if weights not in ("none", "imagenet"):
        first = own["first_conv"]
        stems = {f"{stem}.weight" for stem in ([first] if isinstance(first, str) else first)}
        known = None if needs.whole else set(plain.state_dict())
        rest = load_weights(features, Path(weights), known=known, stems=stems, adapt=adapt_input_conv)
    encoder = Encoder(features, channels, mean=mean, std=std, strides=strides)
    encoder.rest = rest if needs.whole else {}
    return encoder


def _whole(
    name: str, model: EfficientNet | VisionTransformer, needs: Pyramid
) -> tuple[nn.Module, list[int], tuple[int, ...]]:
    """All convolutions of a model, the channels of its maps, and their strides."""
    if isinstance(model, EfficientNet):
        maps = {info["reduction"]: info["num_chs"] for info in model.feature_info}
        _check_strides(name, tuple(maps), needs)
        channels = [*(maps[stride] for stride in needs.strides[:-1]), model.num_features]
        return WholePyramid(model, needs.strides), channels, needs.strides
    stages = getattr(getattr(model.patch_embed, "backbone", None), "feature_info", ())
    maps = {info["reduction"]: info["num_chs"] for info in stages if str(info["module"]).startswith("stages.")}
    if len(maps) < 3 or not set(needs.strides[:-1]) <= set(maps):
        raise ValueError(
            f"encoder {name}: has maps of convolutions at strides {tuple(maps)}, expected {needs.strides[:-1]} and a "
            "deeper one; vit_base_r50_s16_384 fits, and every convolutional model of timm with "
            f"strides {needs.strides}"
        )
    strides = (*needs.strides[:-1], max(maps))
    return HybridPyramid(model), [maps[stride] for stride in strides], strides


def _check_strides(name: str, strides: tuple[int, ...], needs: Pyramid) -> None:
    if not set(needs.strides) <= set(strides):
        raise ValueError(
            f"encoder {name}: has maps at strides {strides}, expected {needs.strides}; {FITTING} fit, and every other "
            "model of timm with these"
        )


def _create(name: str, *, pretrained: bool = False, **arguments: Any) -> Any:
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise ValueError(f"encoder {name}: timm has no such model{', nearest: ' + ', '.join(near) if near else ''}")
    try:
        if not pretrained:
            return timm.create_model(name, **arguments)
        with asked_once() as silence:
            if silence is not None and _wants_hub(name):
                raise _unfetched(name, silence)
            return timm.create_model(name, pretrained=True, **arguments)
    except TypeError as error:
        raise ValueError(f"encoder {name}: encoder.arguments do not fit the model: {error}") from error
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained or WAY_OUT in str(error):
            raise
        raise ValueError(f"encoder {name}: timm's ImageNet weights cannot be had ({error}). {WAY_OUT}") from error


def check_imagenet(name: str) -> None:
    """Refuse timm's ImageNet weights of a model where they were not fetched before and the hub does not answer.

    Raises:
        ValueError: They cannot be had.
    """
    if _wants_hub(name) and (silence := silence_of_hub()) is not None:
        raise _unfetched(name, silence)


def _wants_hub(name: str) -> bool:
    """Whether the weights of a model lie on the hub alone."""
    facts = timm.get_pretrained_cfg(name)
    return facts is not None and facts.hf_hub_id is not None and not is_fetched(facts.hf_hub_id)


def _unfetched(name: str, silence: str) -> ValueError:
    return ValueError(f"encoder {name}: timm's ImageNet weights cannot be had: {silence}. {WAY_OUT}")


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
