"""Inference of learners, their three together and the whole stack; fitting from cached rows against live learners."""

import copy
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn

from base_learners.adabins import AdaBins
from base_learners.blocks import upsample_to
from base_learners.encoders.build import build_encoder
from base_learners.encoders.pyramid import Encoder
from base_learners.losses import scale_invariant_log_loss
from benchmarks.tables import Table, Target, in_turn, milliseconds, write_section
from ensemble.predictions.store import CacheIdentity, PredictionReader, PredictionWriter
from ensemble.runs.fingerprints import fingerprint
from ensemble.settings.layers import Choice, learner_settings, stack_settings
from ensemble.settings.names import stacked_learners
from ensemble.training.networks import build_learner, build_stack
from meta.inputs import assemble

B5 = "AdaBins, EfficientNet-B5"
OPERATORS = {
    "batch_norm": "batch normalisation",
    "_softmax": "softmax",
    "upsample": "interpolation",
    "cat": "concatenation, copies",
    "copy_": "concatenation, copies",
    "leaky_relu": "activations",
    "relu": "activations",
    "elu": "activations",
    "silu": "activations",
    "sigmoid": "activations",
    "mm": "matrix products",
    "attention": "matrix products",
}
"""What a part of an operator's name stands for where time goes; convolutions are told by their shapes."""
DENSE, DEPTHWISE, OTHER = "convolutions, dense and 1x1", "convolutions, depthwise", "everything else"
ASSIGNED = ["encoder.weights=none"]
NOWHERE = Path()
"""No copy is read: the networks are those for frames of NYU Depth v2, whose patches are larger than those for rooms."""


class Stack(nn.Module):
    """Three learners and the meta-learner over them."""

    def __init__(self, learners: nn.ModuleList, meta: nn.Module, inputs: str) -> None:
        super().__init__()
        self.learners, self.meta, self.inputs = learners, meta, inputs

    def depths(self, image: Tensor) -> Tensor:
        """Depth of every learner [b k h w]."""
        return torch.cat([learner(image).depth.float() for learner in self.learners], dim=1)

    def fused(self, image: Tensor, depths: Tensor) -> Tensor:
        """Depth [b 1 h w] of the stack, where the learners' is known."""
        return self.meta.fuse(self.meta(assemble(self.inputs, image, depths, max_depth=10.0)).float(), depths)

    def forward(self, image: Tensor) -> Tensor:
        """Depth of the stack from the image."""
        return self.fused(image, self.depths(image))


class PublishedAdaBins(AdaBins):
    """AdaBins as its paper has it: two dense 3x3 convolutions after every enlargement, and around the transformer.

    Source: Bhat et al. 2021, section 3 and figure 2; widths as in ``AdaBins``.
    """

    def __init__(self, encoder: Encoder, *, widths: Sequence[int] = (2048, 1024, 512, 256, 128)) -> None:
        super().__init__(encoder, widths=widths)
        skips = list(reversed(encoder.channels[:-1]))
        self.decoder = nn.ModuleList(
            nn.Sequential(*_dense(above + skip, width), *_dense(width, width))
            for above, skip, width in zip(widths, skips, widths[1:], strict=False)
        )
        embedding = self.transformer.patches.in_channels
        self.embed = nn.Conv2d(widths[-1], embedding, 3, padding=1)
        self.refine = nn.Conv2d(embedding, embedding, 3, padding=1)

    def _decode(self, image: Tensor) -> Tensor:
        *skips, x = self.encoder(image)
        x = self.bottleneck(self.adaptor(x))
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(torch.cat([upsample_to(x, skip), skip], dim=1))
        return x


def _dense(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.LeakyReLU()


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Of everything that is timed.")] = 5,
    height: Annotated[int, typer.Option(help="Of the images that are predicted.")] = 480,
    width: Annotated[int, typer.Option(help="Of the images that are predicted.")] = 640,
    compiled: Annotated[bool, typer.Option(help="Measure torch.compile too; it takes minutes to begin.")] = False,
    fit_size: Annotated[int, typer.Option(help="Height of a crop in the fit; as wide as 416x544 are.")] = 416,
) -> None:
    """Measures the networks and writes their section."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    stack = _stack().to(device).eval()
    b5 = PublishedAdaBins(build_encoder("tf_efficientnet_b5", weights="none")).to(device).eval()
    networks: dict[str, nn.Module] = dict(zip(stacked_learners(), stack.learners, strict=True))
    together = _Together(stack.learners)
    networks |= {"the three": together, "the whole stack": stack, B5: b5}
    image = torch.rand(1, 3, height, width, device=device)
    ways = _ways(networks, image, compiled=compiled)
    with torch.inference_mode():
        seconds = in_turn(ways, repeats=repeats)
    modes = list(dict.fromkeys(way.split(": ")[0] for way in ways))
    ratios = {mode: seconds[f"{mode}: {B5}"] / seconds[f"{mode}: the whole stack"] for mode in modes}
    fastest = {name: min(seconds[f"{mode}: {name}"] for mode in modes) for name in (B5, "the whole stack")}
    ratios["each in its fastest mode"] = fastest[B5] / fastest["the whole stack"]
    steps = _fitting(stack, fit_size, repeats)
    faster = steps["live"] / steps["cached"]
    shares = {name: _operators(networks[name], image) for name in ("the whole stack", B5)}
    dense = {name: share[DENSE] / sum(share.values()) for name, share in shares.items()}
    why = (
        f"dense and 1x1 convolutions, which were to be saved, are {dense[B5]:.0%} of the dense network's time and "
        f"{dense['the whole stack']:.0%} of the stack's, see below"
    )
    parameters = sum(each.numel() for each in b5.parameters())
    write_section(
        "networks",
        "Networks",
        targets=[
            *(
                Target(
                    f"whole stack against one AdaBins with EfficientNet-B5, batch 1, {mode}",
                    ">= 2x as fast",
                    f"{ratio:.2f}x",
                    ratio >= 2,
                    why if ratio < 2 else "",
                )
                for mode, ratio in ratios.items()
            ),
            Target(
                f"fit of the meta-learner from rows against live learners, {fit_size}x{width_of(fit_size)}, batch 2",
                ">= 5x steps/s",
                f"{faster:.2f}x ({1e3 * steps['cached']:.0f} and {1e3 * steps['live']:.0f} ms a step)",
                faster >= 5,
                f"channels_last; of a step from rows {1e3 * steps['reading']:.0f} ms are reading, the rest is the "
                "meta-learner's own forward and backward pass, which live learners need as well",
            ),
        ],
        parts=[
            f"Inference, batch 1, {height}x{width}, ms ({device.type}); the AdaBins with EfficientNet-B5 has the dense "
            f"decoder of its paper and {parameters / 1e6:.1f} M parameters:",
            Table(
                ("network", *modes),
                [(name, *(milliseconds(seconds[f"{mode}: {name}"]) for mode in modes)) for name in networks],
            ),
            "Where the time of an eager pass goes (torch.profiler, the operators' own time), ms:",
            Table(
                ("operators", *shares),
                [
                    (
                        kind,
                        *(
                            f"{each.get(kind, 0):.0f} ({each.get(kind, 0) / sum(each.values()):.0%})"
                            for each in shares.values()
                        ),
                    )
                    for kind in dict.fromkeys((DENSE, DEPTHWISE, *OPERATORS.values(), OTHER))
                ],
            ),
        ],
    )


class _Together(nn.Module):
    def __init__(self, learners: nn.ModuleList) -> None:
        super().__init__()
        self.learners = learners

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([learner(image).depth for learner in self.learners], dim=1)


def width_of(height: int) -> int:
    """Of a crop that is shaped as those of 416x544."""
    return height * 17 // 13


def _stack() -> Stack:
    choice = Choice("nyu", NOWHERE, assignments=ASSIGNED)
    learners = [build_learner(learner_settings(name, choice)) for name in stacked_learners()]
    meta = build_stack(stack_settings("rgb+d", choice, learners=stacked_learners()))
    return Stack(nn.ModuleList(learners), meta, "rgb+d")


def _ways(networks: dict[str, nn.Module], image: Tensor, *, compiled: bool) -> dict[str, Callable[[], object]]:
    """Every network in every way of running it."""
    ways: dict[str, Callable[[], object]] = {}
    last = image.contiguous(memory_format=torch.channels_last)
    for name, network in networks.items():
        ways[f"eager: {name}"] = _calling(network, image)
        ways[f"channels_last: {name}"] = _calling(network, last, channels_last=True)
        ways[f"bf16 autocast: {name}"] = _calling(network, image, autocast=True)
        if compiled:
            ways[f"torch.compile: {name}"] = _calling(torch.compile(network), image)
    return ways


def _operators(network: nn.Module, image: Tensor) -> dict[str, float]:
    """Milliseconds of one eager pass by kind of operator."""
    call = _calling(network, image)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.inference_mode():
        call()
        with torch.profiler.profile(activities=activities, record_shapes=True) as profile:
            call()
    spent: dict[str, float] = {}
    for event in profile.key_averages(group_by_input_shape=True):
        kind = _kind_of(event.key, event.input_shapes)
        spent[kind] = spent.get(kind, 0.0) + event.self_cpu_time_total / 1e3
    return spent


def _kind_of(operator: str, shapes: Sequence[Sequence[int]]) -> str:
    if "conv" in operator:
        weight = shapes[1] if len(shapes) > 1 else []
        return DEPTHWISE if len(weight) == 4 and weight[1] == 1 < weight[0] else DENSE
    return next((kind for part, kind in OPERATORS.items() if part in operator), OTHER)


def _calling(
    network: nn.Module, image: Tensor, *, channels_last: bool = False, autocast: bool = False
) -> Callable[[], object]:
    if channels_last:  # a copy: the weights of the others stay as they are
        network = copy.deepcopy(network).to(memory_format=torch.channels_last)

    def call() -> object:
        with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=autocast), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = network(image)
        if image.is_cuda:
            torch.cuda.synchronize()
        return answer

    return call


def _fitting(stack: Stack, height: int, repeats: int) -> dict[str, float]:
    """Seconds of reading rows, of a step of the meta-learner on them, and of one on depths that learners make first."""
    stack = copy.deepcopy(stack).to(memory_format=torch.channels_last)  # as configs/experiments fit
    with tempfile.TemporaryDirectory() as folder:
        return _fitting_from(Path(folder), stack, height, repeats)


def _fitting_from(folder: Path, stack: Stack, height: int, repeats: int) -> dict[str, float]:
    device = next(stack.parameters()).device
    size = (height, width_of(height))
    image = torch.rand(2, 3, *size, device=device)
    target = torch.rand(2, 1, *size, device=device) * 9 + 0.5
    with torch.no_grad():
        depths = stack.depths(image).clamp(0, 10).cpu().numpy()
    frames = [f"frame_{index}" for index in range(len(image))]
    readers = []
    for index, name in enumerate(stacked_learners()):
        identity = CacheIdentity(name, "fit", None, *(fingerprint(each) for each in ("w", "p", "f", "s")))
        with PredictionWriter(folder / name, identity, frames, size=size, max_depth=10.0, mend="") as writer:
            for frame, depth in zip(frames, depths[:, index], strict=True):
                writer.append(frame, depth)
        readers.append(PredictionReader(folder / name, identity, frames, size=size, max_depth=10.0, mend=""))
    stack.meta.train()
    image = image.contiguous(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(stack.meta.parameters())

    def step(known: Tensor) -> None:
        optimiser.zero_grad()
        scale_invariant_log_loss(stack.fused(image, known), target, torch.ones_like(target).bool()).backward()
        optimiser.step()

    def reading() -> Tensor:
        rows = [np.stack([reader.read(frame) for reader in readers]) for frame in frames]
        return torch.from_numpy(np.stack(rows)).to(device)

    def cached() -> None:
        step(reading())

    def live() -> None:
        with torch.no_grad():
            known = stack.depths(image)
        step(known)

    return in_turn({"reading": reading, "cached": cached, "live": live}, repeats=repeats)


if __name__ == "__main__":
    typer.run(main)
