"""Inference of learners, stack, student and a dense network in every way; a fit from rows and from live learners."""

import copy
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn

from base_learners.adabins import AdaBins
from base_learners.blocks import upsample_to
from base_learners.contract import MapsByStride
from base_learners.encoders.build import build_encoder
from base_learners.encoders.pyramid import Encoder
from base_learners.losses import scale_invariant_log_loss
from benchmarks.tables import Table, Target, in_turn, millions, milliseconds, write_section
from ensemble.deploy.export.openvino_file import openvino_model, quantised
from ensemble.deploy.export.quiet import quiet
from ensemble.deploy.prepared import prepared
from ensemble.options import parse_size
from ensemble.predictions.store import CacheIdentity, PredictionReader, PredictionWriter
from ensemble.runs.fingerprints import fingerprint
from ensemble.settings.layers import Choice, learner_settings, stack_settings
from ensemble.settings.names import stacked_learners
from ensemble.training.layout import ready_for
from ensemble.training.networks import build_learner, build_stack
from meta.inputs import assemble

B5, WHOLE, FAST = "AdaBins, EfficientNet-B5", "the whole stack", "the whole stack, _fast"
STUDENT = "FastDepth"
FAST_VARIANTS = {"bts": "bts_fast", "ldrn": "ldrn_fast"}
"""Learners with cheaper operators in the places of those that are published."""
EAGER, LOADED, PREPARED, BF16 = "eager", "as loaded", "prepared", "bf16 autocast"
ONNX, OPENVINO, OPENVINO_BF16, OPENVINO_INT8 = "ONNX Runtime", "OpenVINO", "OpenVINO, bf16", "OpenVINO, int8"
FEWER_BITS = (BF16, OPENVINO_BF16, OPENVINO_INT8)
"""Ways that give another depth than in 32 bits; what that costs, docs/benchmarks.md says below `Exported files`."""
EXPORTED = (WHOLE, FAST, STUDENT, B5)
CALIBRATED_ON = 2
"""Images that ranges of 8 bits are read off: for the time that a network takes, they do not matter."""
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
CHOICE = Choice("nyu", Path(), assignments=["encoder.weights=none"])
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

    def _decode(self, image: Tensor) -> MapsByStride:
        *skips, x = self.encoder(image)
        x, maps = self.bottleneck(self.adaptor(x)), {}
        for stride, block, skip in zip((16, 8, 4, 2), self.decoder, reversed(skips), strict=True):
            x = maps[stride] = block(torch.cat([upsample_to(x, skip), skip], dim=1))
        return maps


def _dense(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.LeakyReLU()


def main(
    repeats: Annotated[int, typer.Option(min=1, help="Of everything that is timed.")] = 5,
    sizes: Annotated[str, typer.Option(help="Heights and widths of the images, multiples of 32.")] = "480x640,416x544",
    threads: Annotated[str, typer.Option(help="How many threads.")] = "1,2",
    compiled: Annotated[bool, typer.Option(help="Measure torch.compile too; it takes minutes to begin.")] = False,
    fit_size: Annotated[int, typer.Option(help="Height of a crop in the fit; as wide as 416x544 are.")] = 416,
) -> None:
    """Measures the networks and writes their section."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    stack, networks = _networks(device)
    shapes = [parse_size(each) for each in sizes.split(",")]
    counts = [int(each) for each in threads.split(",")]
    runs: dict[str, Times] = {}
    for height, width in shapes:
        image = torch.rand(1, 3, height, width, device=device)
        with tempfile.TemporaryDirectory() as folder:
            files = {name: _exported(networks[name], image, Path(folder) / f"{name}.onnx") for name in EXPORTED}
            ways = _ways(networks, image, compiled=compiled)
            for count in counts:
                torch.set_num_threads(count)
                where = f"{height}x{width}, {count} thread{'s' * (count > 1)}"
                runs[where] = _times(ways, files, image, count, repeats=repeats)
    steps = _fitting(stack, fit_size, repeats)
    faster = steps["live"] / steps["cached"]
    shares = {name: _operators(networks[name], torch.rand(1, 3, *shapes[0], device=device)) for name in (WHOLE, B5)}
    write_section(
        "networks",
        "Networks",
        targets=[
            *(target for where, times in runs.items() for target in _targets(where, times)),
            Target(
                f"fit of the meta-learner from rows against live learners, {fit_size}x{width_of(fit_size)}, batch 2",
                ">= 5x steps/s",
                f"{faster:.2f}x ({1e3 * steps['cached']:.0f} and {1e3 * steps['live']:.0f} ms a step)",
                faster >= 5,
                f"of a step from rows {1e3 * steps['reading']:.0f} ms are reading, the rest is the "
                "meta-learner's own forward and backward pass, which live learners need as well",
            ),
        ],
        parts=[
            f"Inference, batch 1, the fastest of {repeats} rounds, without flip averaging, weights as they begin "
            f"({device.type}). {B5} has the dense "
            f"decoder of its paper and {millions(networks[B5])} M parameters, the whole stack {millions(stack)} M, "
            f"{STUDENT} {millions(networks[STUDENT])} M; *_fast* has {' and '.join(FAST_VARIANTS.values())} in the "
            "stack. *eager* is what torch does by itself, *as loaded* how this package predicts (and *bf16 autocast* "
            "starts from it): the channels of a pixel together, convolutions of one pixel by oneDNN with one thread "
            "too. *prepared* folds BN and standardised filters into convolutions besides; every export starts from it. "
            "Ways of 16 and 8 bits give another depth, see below *Exported files*.",
            *(part for where, times in runs.items() for part in (f"{where}, ms:", _table(times))),
            f"Where the time of an eager pass of {shapes[0][0]}x{shapes[0][1]} goes (torch.profiler, the operators' "
            "own time), ms:",
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


Times = Mapping[tuple[str, str], float]
"""Seconds of an image, by way and network."""

Ways = Mapping[tuple[str, str], Callable[[], object]]
"""How an image is computed, by way and network."""


def _networks(device: torch.device) -> tuple[Stack, dict[str, nn.Module]]:
    stack, fast = (_stack(variants).to(device).eval() for variants in ({}, FAST_VARIANTS))
    networks: dict[str, nn.Module] = dict(zip(stacked_learners(), stack.learners, strict=True))
    variants = zip(stacked_learners(), fast.learners, strict=True)
    networks |= {FAST_VARIANTS[name]: learner for name, learner in variants if name in FAST_VARIANTS}
    networks |= {"the three": _Together(stack.learners), WHOLE: stack, FAST: fast}
    networks[STUDENT] = build_learner(learner_settings("fastdepth", CHOICE)).to(device).eval()
    networks[B5] = PublishedAdaBins(build_encoder("tf_efficientnet_b5", weights="none")).to(device).eval()
    return stack, networks


def _targets(where: str, times: Times) -> list[Target]:
    def fastest(name: str, ways: Sequence[str] | None = None) -> tuple[float, str]:
        return min(
            (seconds, way) for (way, of), seconds in times.items() if of == name and (ways is None or way in ways)
        )

    full = [way for way in dict.fromkeys(way for way, _ in times) if way not in FEWER_BITS]
    eager = [way for way in full if way not in (ONNX, OPENVINO)]
    targets = []
    for stack, wanted in ((WHOLE, 2.0), (FAST, 2.5)):
        for bits, ways in (("32 bits", full), ("any precision", None)):
            (ours, way), (theirs, their_way) = fastest(stack, ways), fastest(B5, ways)
            what = f"{stack} ({way}) against {B5} ({their_way}), each in its fastest way of {bits}, {where}"
            targets.append(Target(what, f">= {wanted}x", f"{theirs / ours:.2f}x", theirs / ours >= wanted))
    for way, wanted in ((ONNX, 1.3), (OPENVINO, 1.45), (OPENVINO_INT8, 2.1)):
        ratio = times[EAGER, WHOLE] / times[way, WHOLE]
        what = f"{WHOLE}: {way} against eager, {where}"
        targets.append(Target(what, f">= {wanted}x", f"{ratio:.2f}x", ratio >= wanted))
    (whole, its_way), (student, way), (left, export_way) = (
        fastest(WHOLE, eager),
        fastest(STUDENT, eager),
        fastest(STUDENT),
    )
    for seconds, name, wanted in ((student, way, 10), (left, export_way, 20)):
        what = f"{STUDENT} ({name}) against {WHOLE} ({its_way}, its fastest of torch), {where}"
        targets.append(Target(what, f">= {wanted}x", f"{whole / seconds:.1f}x", whole / seconds >= wanted))
    return targets


def _table(times: Times) -> Table:
    ways, names = (list(dict.fromkeys(each)) for each in zip(*times, strict=True))
    rows = [
        (name, *(milliseconds(times[way, name]) if (way, name) in times else "-" for way in ways)) for name in names
    ]
    return Table(("network", *ways), rows)


class _Depth(nn.Module):
    """A network's depth alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        said = self.network(image)
        return said if isinstance(said, Tensor) else said.depth


@dataclass(frozen=True)
class _Exported:
    """A network that left torch.

    Attributes:
        onnx: The file.
        int8: A model of OpenVINO of 8 bits.
    """

    onnx: Path
    int8: Any


def _exported(network: nn.Module, image: Tensor, path: Path) -> _Exported:
    with quiet():
        torch.onnx.export(
            _Depth(prepared(network, image)).cpu(),
            (image.cpu(),),
            path,
            input_names=["image"],
            output_names=["depth"],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    images = [np.random.default_rng(seed).random(image.shape, np.float32) for seed in range(CALIBRATED_ON)]
    return _Exported(path, quantised(openvino_model(path), images))


def _times(ways: Ways, files: Mapping[str, _Exported], image: Tensor, threads: int, *, repeats: int) -> Times:
    """Every network in every way of running it, in turn: the fastest round of each.

    With two threads a stack of many small operators was seen to take 200 or 315 ms from one second to the next where
    a network of few large ones took 500 or 525: whoever else is on the machine decided their ratio by medians.
    """
    for name, exported in files.items():
        ways = {**ways, **{(way, name): run for way, run in _sessions(exported, image, threads).items()}}
    with torch.inference_mode():
        seconds = in_turn({" | ".join(key): run for key, run in ways.items()}, repeats=repeats, of_rounds=min)
    return {key: seconds[" | ".join(key)] for key in ways}


def _sessions(exported: _Exported, image: Tensor, threads: int) -> dict[str, Callable[[], object]]:
    import onnxruntime  # pyright: ignore[reportMissingImports]
    import openvino  # pyright: ignore[reportMissingImports]

    pixels = image.cpu().numpy()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(exported.onnx), options, providers=["CPUExecutionProvider"])
    core, count = openvino.Core(), {"INFERENCE_NUM_THREADS": str(threads)}
    plain, half = openvino_model(exported.onnx), openvino_model(exported.onnx, bf16=True)
    compiled = {
        way: core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint, **count})
        for way, model, hint in (
            (OPENVINO, plain, "f32"),
            (OPENVINO_BF16, half, "bf16"),
            (OPENVINO_INT8, exported.int8, "f32"),
        )
    }

    def in_openvino(way: str) -> Callable[[], object]:
        return lambda: compiled[way]([pixels])

    return {ONNX: lambda: session.run(["depth"], {"image": pixels}), **{way: in_openvino(way) for way in compiled}}


class _Together(nn.Module):
    def __init__(self, learners: nn.ModuleList) -> None:
        super().__init__()
        self.learners = learners

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([learner(image).depth for learner in self.learners], dim=1)


def width_of(height: int) -> int:
    """Of a crop that is shaped as those of 416x544."""
    return height * 17 // 13


def _stack(variants: Mapping[str, str]) -> Stack:
    names = [variants.get(name, name) for name in stacked_learners()]
    learners = [build_learner(learner_settings(name, CHOICE)) for name in names]
    meta = build_stack(stack_settings("rgb+d", CHOICE, learners=stacked_learners()))
    return Stack(nn.ModuleList(learners), meta, "rgb+d")


def _ways(networks: dict[str, nn.Module], image: Tensor, *, compiled: bool) -> Ways:
    """Every network in every way that torch has of running it."""
    ways: dict[tuple[str, str], Callable[[], object]] = {}
    for name, network in networks.items():
        loaded = ready_for(copy.deepcopy(network), image.device)
        ways[EAGER, name] = _calling(network, image)
        ways[LOADED, name] = _calling(loaded, image)
        ways[PREPARED, name] = _calling(ready_for(prepared(network, image), image.device), image)
        ways[BF16, name] = _calling(loaded, image, autocast=True)
        if compiled:
            ways["torch.compile", name] = _calling(torch.compile(network), image)
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


def _calling(network: nn.Module, image: Tensor, *, autocast: bool = False) -> Callable[[], object]:
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
    stack = ready_for(copy.deepcopy(stack), next(stack.parameters()).device)  # as configs/experiments fit
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
