"""Exported files against the network that they were made of: time, size on disk and, on trained weights, depth."""

import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.tables import Table, Target, in_turn, milliseconds, write_section
from ensemble.deploy.door import DepthStack
from ensemble.deploy.export import SUFFIXES
from ensemble.deploy.export.parity import Parity, refusal
from ensemble.deploy.export.request import ExportRequest
from ensemble.deploy.export.write import export
from ensemble.deploy.prepared import prepared
from ensemble.deploy.runtime.sessions import RUNTIMES
from ensemble.training.layout import as_built, ready_for

FILES = {
    "ONNX Runtime": ("onnx", "fp32"),
    "ONNX Runtime, int8": ("onnx", "int8"),
    "ExecuTorch": ("executorch", "fp32"),
    "ExecuTorch, int8": ("executorch", "int8"),
    "OpenVINO": ("openvino", "fp32"),
    "OpenVINO, bf16": ("openvino", "bf16"),
    "OpenVINO, int8": ("openvino", "int8"),
}
WANTED = {"ONNX Runtime": 1.3, "OpenVINO": 1.45, "OpenVINO, int8": 2.1}
"""How many times as fast as the network in torch, of the same stack."""
EAGER = "torch"


def main(
    stack: Annotated[Path, typer.Option(help="A saved stack, trained on data that are there.")],
    repeats: Annotated[int, typer.Option(min=1, help="Of everything that is timed.")] = 9,
) -> None:
    """Exports a stack in every way, times all of them with one thread, and writes their section."""
    torch.set_num_threads(1)
    loaded = DepthStack.open(stack)
    network = loaded.network.flip_averaging(False)
    size = loaded.trained_size
    pixels = torch.randint(0, 256, (1, 3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    ways, told = _in_torch(network, pixels.float() / 255), {}
    usual = {name: ExportRequest(kind, size, precision) for name, (kind, precision) in FILES.items()}
    any_loss = 1.0
    with tempfile.TemporaryDirectory() as folder:
        for name, request in usual.items():
            kind = request.kind
            path = Path(folder) / f"{kind}-{request.precision}{SUFFIXES[kind]}"
            limited = request.loss_allowed is not None
            try:
                parity = export(loaded, path, replace(request, max_loss=any_loss) if limited else request)
            except ValueError as refused:
                told[name] = (None, str(refused).splitlines()[0])
                continue
            told[name] = (_megabytes(path), parity)
            ways[name] = _calling(RUNTIMES[kind](path, 1).run, pixels.numpy())
        with torch.inference_mode():
            seconds = in_turn(ways, repeats=repeats, clock=time.process_time)
    ratios = {name: seconds[EAGER] / spent for name, spent in seconds.items()}
    deepest = network.settings.data.max_depth
    refused = {
        name: parity
        if isinstance(parity, str)
        else refusal(parity, usual[name].precision, usual[name].loss_allowed, max_depth=deepest)
        for name, (_, parity) in told.items()
    }
    write_section(
        "exports",
        "Exported files",
        targets=[
            Target(
                f"{name} against torch, {size[0]}x{size[1]}",
                f">= {wanted}x as fast",
                f"{ratios[name]:.2f}x",
                ratios[name] >= wanted and not refused[name],
                "the gate refuses the file" if refused[name] else "",
            )
            for name, wanted in WANTED.items()
            if name in ratios
        ],
        parts=[
            f"A whole stack ({', '.join(loaded.learners)}) at {size[0]}x{size[1]} without the mirrored image, "
            "one thread, processor time; differences of depth from torch on 16 validation frames, 64 of 8 bits. *Gate* "
            "is what an export with the usual limits says to the file.",
            Table(
                ("way", "ms", "of torch", "MB", "largest, m", "mean, m", "REL, before and after", "d1", "gate"),
                [
                    *(
                        (name, milliseconds(seconds[name]), f"{ratios[name]:.2f}x", *["-"] * 6)
                        for name in ways
                        if name not in told
                    ),
                    *(_row(name, told[name], seconds, ratios, refused[name]) for name in FILES),
                ],
            ),
        ],
    )


def _row(
    name: str,
    told: tuple[float | None, Parity | str],
    seconds: dict[str, float],
    ratios: dict[str, float],
    refused: str | None,
) -> tuple[str, ...]:
    megabytes, parity = told
    if megabytes is None or isinstance(parity, str):
        return (name, *["-"] * 7, f"not written: {parity}")
    known = parity.rel is not None and parity.d1 is not None
    scores = [f"{before:.4f}, {after:.4f}" for before, after in (parity.rel, parity.d1)] if known else ["-", "-"]
    return (
        *(name, milliseconds(seconds[name]), f"{ratios[name]:.2f}x", f"{megabytes:.1f}"),
        *(f"{parity.largest:.1e}", f"{parity.mean:.1e}", *scores),
        f"refused: {refused}" if refused else "passes",
    )


def _in_torch(network: torch.nn.Module, image: torch.Tensor) -> dict[str, Callable[[], object]]:
    """As torch computes it by itself, as it is loaded, and with BN inside convolutions besides."""
    plain, ready = as_built(copy.deepcopy(network)), ready_for(prepared(network, image), image.device)
    return {
        EAGER: lambda: plain(image),
        "torch, as loaded": lambda: network(image),
        "torch, prepared": lambda: ready(image),
    }


def _calling(run: Callable[[np.ndarray], object], image: np.ndarray) -> Callable[[], object]:
    return lambda: run(image)


def _megabytes(path: Path) -> float:
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.stem}.*")) / 1e6


if __name__ == "__main__":
    typer.run(main)
