"""A network that will not be trained any more: everything that its weights alone decide is computed once."""

import copy
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from base_learners.ldrn import WSConv2d
from ensemble.training.layout import as_built

Network = TypeVar("Network", bound=nn.Module)


def prepared(network: Network, image: Tensor) -> Network:
    """A copy that says the same but for rounding, with standardised filters kept as such and BN inside convolutions.

    A BN that follows a convolution directly, and alone reads what that says, becomes part of its filters; others stay.

    Args:
        network: Of a learner, or a stack; in evaluation mode.
        image: Any that it takes, to see what follows what; numbers in it do not matter.
    """
    ready = as_built(copy.deepcopy(network)).eval().requires_grad_(False)
    _bake(ready)
    names = {module: name for name, module in ready.named_modules()}
    for convolution, norm in _pairs(ready, image):
        _fold(convolution, norm)
        ready.set_submodule(names[norm], _after(norm))
    return ready


class Affine(nn.Module):
    """A BN that learns no more: one product and one sum for every channel."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        scale, shift = _scale_and_shift(norm)
        self.scale = nn.Parameter(scale[None, :, None, None].to(norm.running_var), requires_grad=False)
        self.shift = nn.Parameter(shift[None, :, None, None].to(norm.running_var), requires_grad=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Each channel times its factor, plus its shift."""
        return x * self.scale + self.shift


def without_norms(network: Network) -> Network:
    """A prepared network with a product and a sum in the place of every BN that is left."""
    for name, norm in list(network.named_modules()):
        if isinstance(norm, nn.BatchNorm2d):
            network.set_submodule(name, nn.Sequential(Affine(norm), _after(norm)).eval())
    return network


def _bake(network: nn.Module) -> None:
    """Put plain convolutions with the standardised filters in the place of those that standardise at every call."""
    for name, layer in list(network.named_modules()):
        if isinstance(layer, WSConv2d):
            plain = nn.Conv2d(
                layer.in_channels,
                layer.out_channels,
                layer.kernel_size,  # pyright: ignore[reportArgumentType]
                padding=layer.padding,  # pyright: ignore[reportArgumentType]
                dilation=layer.dilation,  # pyright: ignore[reportArgumentType]
                bias=False,
                device=layer.weight.device,
                dtype=layer.weight.dtype,
            )
            plain.weight = nn.Parameter(layer.standardised().detach(), requires_grad=False)
            network.set_submodule(name, plain.eval())


@dataclass
class _Watch(TorchFunctionMode):
    """Counts who reads which tensor; tensors are kept, so that none takes the place of another one."""

    readers: dict[int, int] = field(default_factory=dict)
    kept: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        read = {id(leaf): leaf for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)}
        said = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(said)):  # the shape of a tensor is no reading of it
            for own, tensor in read.items():
                self.readers[own] = self.readers.get(own, 0) + 1
                self.kept.append(tensor)
        return said


def _pairs(network: nn.Module, image: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Every convolution whose result a BN reads and nobody else, with that BN."""
    made: list[tuple[Tensor, nn.Conv2d]] = []
    read: dict[int, nn.BatchNorm2d] = {}
    sources: dict[nn.BatchNorm2d, set[nn.Conv2d | None]] = {}
    watch = _Watch()

    def convolved(layer: nn.Conv2d, _: Any, out: Tensor) -> None:
        made.append((out, layer))

    def normalised(layer: nn.BatchNorm2d, given: tuple[Tensor, ...]) -> None:
        read[id(given[0])] = layer
        maker = next((convolution for out, convolution in reversed(made) if out is given[0]), None)
        sources.setdefault(layer, set()).add(maker)

    hooks = [each.register_forward_hook(convolved) for each in network.modules() if isinstance(each, nn.Conv2d)]
    hooks += [
        each.register_forward_pre_hook(normalised) for each in network.modules() if isinstance(each, nn.BatchNorm2d)
    ]
    try:
        with torch.no_grad(), watch:
            network(image)
    finally:
        for hook in hooks:
            hook.remove()
    readers: dict[nn.Conv2d, set[nn.BatchNorm2d | None]] = {}
    for out, convolution in made:  # a network that is averaged over the mirrored image calls all of them twice
        alone = watch.readers.get(id(out)) == 1
        readers.setdefault(convolution, set()).add(read.get(id(out)) if alone else None)
    return [
        (convolution, norm)
        for convolution, known in readers.items()
        for norm in known
        if norm is not None and known == {norm} and sources[norm] == {convolution}
    ]


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Scale and shift the filters as the BN would what they say; computed in double precision."""
    scale, shift = _scale_and_shift(norm)
    if convolution.bias is not None:
        shift = shift + convolution.bias.double() * scale
    weight = convolution.weight.double() * scale[:, None, None, None]
    convolution.weight = nn.Parameter(weight.to(convolution.weight), requires_grad=False)
    convolution.bias = nn.Parameter(shift.to(convolution.weight), requires_grad=False)


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Float64[Tensor, " c"], Float64[Tensor, " c"]]:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a BN without statistics cannot be folded: expected a network that was trained")
    scale = (variance.double() + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight.double())
    return scale, -mean.double() * scale + (0.0 if norm.bias is None else norm.bias.double())


def _after(norm: nn.BatchNorm2d) -> nn.Module:
    """What a BN does besides: those of timm bring their activation."""
    parts = [each for each in norm.children() if not isinstance(each, nn.Identity)]
    return nn.Sequential(*parts).eval() if parts else nn.Identity()
