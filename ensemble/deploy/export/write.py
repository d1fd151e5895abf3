"""Export, compare, and only then give away: a file that says something else than its network is never there."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from base_learners.encoders.build import padded_by_size, with_constant_padding
from ensemble.console import messages
from ensemble.console.pulse import pulse
from ensemble.data.formats.packages import expect_packages
from ensemble.data.transforms import STRIDE, resize_image
from ensemble.deploy.compression.tuning import trained_for_eight_bits
from ensemble.deploy.door import DepthStack
from ensemble.deploy.export.executorch_file import executorch_program, quantised_program, save_executorch
from ensemble.deploy.export.frames import MOST_CALIBRATED, GateFrames, photographs_in
from ensemble.deploy.export.module import Leaving
from ensemble.deploy.export.onnx_file import halve_weights, onnx_model, save_onnx
from ensemble.deploy.export.openvino_file import openvino_model, quantised, save_openvino
from ensemble.deploy.export.parity import Parity, compare, from_stack, refusal
from ensemble.deploy.export.quantise import CONVOLUTIONS_ALONE, eight_bit_filters, quantised_onnx
from ensemble.deploy.export.request import ExportRequest, Size
from ensemble.deploy.export.torch_file import open_torch, save_torch, torch_program
from ensemble.deploy.network import LearnerNetwork, StackNetwork
from ensemble.deploy.prepared import without_norms
from ensemble.deploy.runtime.header import ExportedLearner, ExportHeader
from ensemble.deploy.runtime.seals import parts, seal
from ensemble.deploy.runtime.session import Session
from ensemble.deploy.runtime.sessions import RUNTIMES
from ensemble.photographs.views import view_of_focal
from ensemble.runs.files import folder_beside
from ensemble.settings.trees import SettingsError

OPENED: dict[str, Callable[[Path], Session]] = {**RUNTIMES, "torch": open_torch}
"""How a file is read back, by its kind."""

_PACKAGES = {
    "onnx": ("onnx", "onnxscript"),
    "openvino": ("openvino", "onnx"),
    "executorch": ("executorch", "torch"),
    "torch": ("torch",),
}
BESIDE_STACK = 4
"""Images that the file is held beside the stack's own prediction on."""
_RUN_BY = {"onnx": ("onnxruntime",), "openvino": ("packaging", "onnxscript"), "executorch": (), "torch": ()}
"""What else makes a file, or compares it."""


def export(stack: DepthStack, path: Path, request: ExportRequest) -> Parity:
    """Write a stack, or a learner, as a file of a kind; of OpenVINO as two.

    Args:
        stack: On the CPU.
        path: Of the file; what stood there stays where the new one is refused.
        request: What is asked for.

    Returns:
        What the gate has measured.

    Raises:
        ValueError: A package is missing, a learner has no network, there is nothing to compare on, or the file says
            something else than the network.
    """
    _check(stack, path, request)
    frames = GateFrames(stack, request.images, request.compared, scored=request.loss_allowed is not None)
    network = copy.deepcopy(stack.network).flip_averaging(False).in_full_precision()
    traced = request.size or rounded_up(stack.trained_size)
    module = Leaving(network, traced, torch.uint8 if request.pixels == "uint8" else torch.float32)
    header = header_of(stack, module, request)
    with folder_beside(path) as folder:
        beside = folder / path.name
        pulse.doing = "writing down what the network computes"
        save = _made(module, header, traced, request, frames, folder)
        save(header, beside)
        pulse.doing = "comparing the file with the network"
        parity = measured(network, beside, request, frames, stack.network)
        deepest = network.settings.data.max_depth
        if reason := refusal(parity, request.precision, request.loss_allowed, max_depth=deepest):
            raise ValueError(
                f"{path}: not written, for depth of the exported file {reason}\n"
                f"({parity.sentence()}); the network itself is as it was"
            )
        save(replace(header, parity=parity.to_plain()), beside)
        if request.kind in RUNTIMES:  # a file of torch is an archive, which has checksums of its own
            seal(beside)
        for part in parts(beside):
            part.replace(path.with_name(part.name))
    return parity


def measured(
    network: StackNetwork,
    path: Path,
    request: ExportRequest,
    frames: GateFrames,
    predicting: StackNetwork | None = None,
) -> Parity:
    """The file as its runtime reads it, beside the network, and beside the stack as it predicts.

    Both at the sizes that the file takes; the stack, where it is given, on a few of the images.
    """
    sizes = [request.size] if request.size is not None else _two_sizes(network.settings.data.size, request.kind)
    groups = {size: frames.at(size) for size in sizes}
    session = OPENED[request.kind](path)
    parity = compare(network, session.run, groups, request.pixels, frames.what)
    if predicting is None:
        return parity
    few = next(iter(groups.values()))[:BESIDE_STACK]
    return replace(parity, stack=from_stack(predicting, session.run, few, request.pixels))


def _check(stack: DepthStack, path: Path, request: ExportRequest) -> None:
    if stack.network.imported:
        raise ValueError(
            f"{stack.header.name}: {', '.join(stack.network.imported)} was imported as depth maps: there is no network "
            "to export; fit a stack without it (--learners)"
        )
    request.check_place(path)
    request.check_size()
    if request.size is None:
        check_open_size(stack.network, request.kind)
    small = ("nncf",) * (request.kind == "openvino" and request.precision == "int8")
    modules = (*_PACKAGES[request.kind], *_RUN_BY[request.kind], *small)
    expect_packages(modules, extra=request.kind, kind=f"export {request.kind}", where=path)
    path.parent.mkdir(parents=True, exist_ok=True)


def check_open_size(network: StackNetwork, kind: str) -> None:
    """Refuse to leave the size open where the file would say something else than the network.

    Raises:
        SettingsError: A learner has a size of its own; or a map is padded otherwise at the size of the training than at
            multiples of ``STRIDE``, which are all that files of torch take.
    """
    height, width = network.settings.data.size
    if sized := _with_own_size(network):
        raise SettingsError(
            f"--size dynamic: {' and '.join(sized)} saw frames at another size than {height}x{width}, which files of "
            f"open size cannot do. Expected one size: --size {height}x{width}"
        )
    if kind != "torch" and (maps := padded_by_size(network, torch.full((1, 3, height, width), 0.5))):
        rows, columns = maps[0]
        raise SettingsError(
            "--size dynamic: an encoder pads as TensorFlow does, by the size of each map, and meets one of "
            f"{rows}x{columns} at {height}x{width}, the size of the training; files of open size pad as is right for "
            f"multiples of {STRIDE}. Expected one size: --size {height}x{width}"
        )


def _made(
    module: Leaving, header: ExportHeader, size: Size, request: ExportRequest, frames: GateFrames, folder: Path
) -> Callable[[ExportHeader, Path], None]:
    """What writes the file with a header."""
    how: dict[str, Any] = {"open_size": request.size is None, "stride": STRIDE}
    if request.size is None:
        module.network = with_constant_padding(module.network)
    images = _calibrating(request, frames, size) if request.precision == "int8" else []  # told before a training is
    if request.qat:
        whole = request.kind != "onnx"  # nncf and ExecuTorch have all convolutions in 8 bits
        filters = None if whole else eight_bit_filters(onnx_model(module, size, **how))
        module = trained_for_eight_bits(module, request.qat, filters=filters)
    if request.kind == "torch":
        return partial(save_torch, torch_program(module, size, **how))
    if request.kind == "executorch":
        if images:  # else BN would be folded into convolutions that others read as well
            module.network = without_norms(module.network)
        program = torch_program(module, size, **how)
        return partial(save_executorch, executorch_program(quantised_program(program, images) if images else program))
    model = onnx_model(module, size, **how)
    if request.kind == "onnx" and request.precision == "fp16":
        halve_weights(model)
    if request.kind == "onnx":
        alone = convolutions_alone(module.network)
        small = quantised_onnx(model, images, folder, convolutions_alone=alone) if images else model
        return partial(save_onnx, small)
    between = folder / "between.onnx"
    save_onnx(model, header, between)
    converted = openvino_model(between, bf16=request.precision == "bf16")
    return partial(save_openvino, quantised(converted, images) if images else converted)


def convolutions_alone(network: StackNetwork) -> frozenset[str]:
    """Learners that are ``CONVOLUTIONS_ALONE``."""
    members = zip(network.names, network.members, strict=True)
    return frozenset(
        name
        for name, member in members
        if isinstance(member, LearnerNetwork) and {own.architecture for own in member.settings} & CONVOLUTIONS_ALONE
    )


def _calibrating(request: ExportRequest, frames: GateFrames, size: Size) -> Sequence[np.ndarray]:
    """Images for the ranges of 8 bits, as the file takes them."""
    if request.calibrate is None:
        pixels = [image.pixels for image in frames.to_calibrate(size)[0]]
    else:
        chosen = photographs_in(request.calibrate, "--calibrate", MOST_CALIBRATED)
        units = [resize_image(each, size) for each in chosen]
        pixels = [unit.mul(255).round().byte()[None] for unit in units]
    return [(image if request.pixels == "uint8" else image.float() / 255).numpy() for image in pixels]


def header_of(stack: DepthStack, module: Leaving, request: ExportRequest) -> ExportHeader:
    """What a file of this network says of itself, before it was compared."""
    data, header = stack.network.settings.data, stack.header
    return ExportHeader(
        name=header.name,
        learners=tuple(ExportedLearner(learner.name, learner.title) for learner in header.learners),
        pixels=request.pixels,
        size=request.size,
        stride=STRIDE,
        trained_size=data.size,
        depth_range=(data.min_depth, data.max_depth),
        focal=header.focal,
        field_of_view=None if header.focal is None else view_of_focal(header.focal, data.size[1]),
        outputs=module.outputs,
        precision=request.precision,
        scores=header.scores,
        licence=f"code: Apache-2.0; weights: by the terms of the data that they were trained on ({data.kind})",
        versions={**header.versions, **{name: version(name) for name in _PACKAGES[request.kind]}},
    )


def rounded_up(size: Size) -> Size:
    """The smallest size that is not smaller and that encoders can halve."""
    return size[0] + -size[0] % STRIDE, size[1] + -size[1] % STRIDE


def _two_sizes(trained: Size, kind: str) -> list[Size]:
    """The size of the training, and a larger one; a program of torch takes multiples of ``STRIDE`` alone."""
    height, width = rounded_up(trained)
    return [(height, width) if kind == "torch" else trained, (height + STRIDE, width + STRIDE)]


def say(parity: Parity, path: Path, precision: str, network: StackNetwork) -> None:
    """Tell what was written, what it costs, and how far it is from what the stack itself predicts."""
    if precision == "bf16":
        messages.print(f"warning: it computes in bf16, where {parity.sentence()}", style="yellow")
    messages.print(f"{path}: {sum(part.stat().st_size for part in parts(path)) / 1e6:.1f} MB, {parity.sentence()}")
    ways = _own_ways(network)
    if parity.stack is not None and ways:
        largest, mean = parity.stack
        messages.print(
            f"the stack itself {' and '.join(ways)}, which files do not: its depth is {largest:.2g} m at most and "
            f"{mean:.2g} m on average from theirs"
        )


def _with_own_size(network: StackNetwork) -> list[str]:
    """Learners that see frames at another size than that of the stack."""
    members = zip(network.names, network.members, strict=True)
    return [
        name
        for name, member in members
        if isinstance(member, LearnerNetwork) and any(own.seen.size != own.data.size for own in member.settings)
    ]


def _own_ways(network: StackNetwork) -> list[str]:
    """What a stack does and its file does not, as verbs."""
    settings = [own for member in network.members if isinstance(member, LearnerNetwork) for own in member.settings]
    mixed = any(own.training.precision != "32-true" for own in settings)
    sized = _with_own_size(network)
    sizes = "a size of its own" if len(sized) == 1 else "sizes of their own"
    return [
        *(["averages with the mirrored image"] if network.flip else ()),
        *(["computes in 16 bits as it was trained"] if mixed else ()),
        *([f"lets {' and '.join(sized)} see the whole frame at {sizes}"] if sized else ()),
    ]
