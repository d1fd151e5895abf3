"""A network as one file of ExecuTorch for phones, whose convolutions XNNPACK computes; it takes images of one size."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ensemble.data.formats.packages import needed
from ensemble.deploy.export.quiet import quiet
from ensemble.deploy.runtime.header import KEY, ExportHeader
from ensemble.runs.files import write_bytes


def executorch_program(program: torch.export.ExportedProgram) -> Any:
    """A program of torch as ExecuTorch computes it: what XNNPACK cannot is left to slower operators.

    Args:
        program: Of fixed size.

    Raises:
        ValueError: The package is missing.
    """
    with quiet():
        needed("executorch", extra="executorch", kind="ExecuTorch", where="export")
        from executorch.backends.xnnpack.partition import xnnpack_partitioner  # pyright: ignore[reportMissingImports]
        from executorch.exir import to_edge_transform_and_lower  # pyright: ignore[reportMissingImports]

        lowered = to_edge_transform_and_lower(program, partitioner=[xnnpack_partitioner.XnnpackPartitioner()])
    return lowered.exported_program()


def save_executorch(lowered: Any, header: ExportHeader, path: Path) -> None:
    """Write one file, with its header as a method that returns it: there is no other place for text."""
    with quiet():
        from executorch.exir import EdgeProgramManager  # pyright: ignore[reportMissingImports]

        own = copy.deepcopy(lowered)  # it is changed
        manager = EdgeProgramManager({"forward": own}, constant_methods={KEY: header.to_json()})
        write_bytes(path, manager.to_executorch().buffer)


def quantised_program(
    program: torch.export.ExportedProgram, images: Sequence[np.ndarray]
) -> torch.export.ExportedProgram:
    """The same with weights and activations of 8 bits, with a range for every channel of the filters.

    Args:
        program: Of fixed size.
        images: [1 3 h w], whose activations tell the ranges.

    Raises:
        ValueError: The package is missing.
    """
    with quiet():
        needed("executorch", extra="executorch", kind="8 bits for ExecuTorch", where="export")
        from executorch.backends.xnnpack.quantizer import xnnpack_quantizer  # pyright: ignore[reportMissingImports]
        from torchao.quantization.pt2e import quantize_pt2e  # pyright: ignore[reportMissingImports]

        quantiser = xnnpack_quantizer.XNNPACKQuantizer()
        small = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
        heavy: Any  # annotated as packets of operators, compared with operators
        for heavy in (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default):
            quantiser.set_operator_type(heavy, small)  # of all steps it would take constants of 64 bits as well
        flat = program.run_decompositions({})  # inside ``autocast`` blocks, which are graphs of their own, it skips all
        watched = quantize_pt2e.prepare_pt2e(flat.module(), quantiser)
        given = [torch.from_numpy(np.ascontiguousarray(image)) for image in images]  # else its layout is the program's
        with torch.no_grad():
            for image in given:
                watched(image)
        converted = quantize_pt2e.convert_pt2e(watched)
        return torch.export.export(converted, (given[0],), strict=False)
