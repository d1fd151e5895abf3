"""A network as a program of torch, which runs without our source."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch.export import Dim

from ensemble.deploy.export.module import Leaving
from ensemble.deploy.export.onnx_file import MOST_STRIDES
from ensemble.deploy.export.quiet import quiet
from ensemble.deploy.runtime.header import KEY, ExportHeader
from ensemble.deploy.runtime.session import Session

_PLACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node", "torch_fn", "custom")


def torch_program(
    module: Leaving, size: tuple[int, int], *, open_size: bool, stride: int
) -> torch.export.ExportedProgram:
    """A network as a program, without the places of its source; arguments as for ``onnx_model``."""
    sides = None
    if open_size:
        sides = ({axis: stride * Dim(name, min=2, max=MOST_STRIDES) for axis, name in ((2, "rows"), (3, "columns"))},)
    with quiet():
        program = torch.export.export(module, (module.example(size),), dynamic_shapes=sides, strict=False)
    graphs = (part for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule))
    for node in (node for part in graphs for node in part.graph.nodes):  # what runs in full precision has its own graph
        for name in _PLACES:
            node.meta.pop(name, None)
    return program


def save_torch(program: torch.export.ExportedProgram, header: ExportHeader, path: Path) -> None:
    """Write one file, with its header."""
    with quiet():
        torch.export.save(program, path, extra_files={KEY: header.to_json()})


def open_torch(path: Path) -> Session:
    """Such a file, ready to compute."""
    told = {KEY: ""}
    program = torch.export.load(path, extra_files=told)
    header, forward = ExportHeader.from_json(told[KEY], str(path)), program.module()

    def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
        with torch.inference_mode():
            said = forward(torch.from_numpy(image))
        return {name: maps.numpy() for name, maps in zip(header.outputs, said, strict=True)}

    return Session(header, run)
