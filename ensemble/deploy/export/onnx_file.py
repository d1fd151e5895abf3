"""A network as one ONNX file: sizes open or fixed, weights of 32 or 16 bits, and nothing of this machine in it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim

from ensemble.data.formats.packages import needed
from ensemble.deploy.export.module import Leaving
from ensemble.deploy.export.quiet import quiet
from ensemble.deploy.runtime.header import KEY, ExportHeader
from ensemble.runs.files import write_bytes

MOST_STRIDES = 64
"""Largest side of an image for a file of open size, in strides: 2048 pixels."""

META = "meta"
"""The part of the nodes of the meta-learner."""

SEPARATOR = "/"
"""Between the part that a node belongs to and its own name; nodes before and behind the networks have no part."""

SMALLEST_HALVED = 64
"""Numbers that a weight has at least to be kept in 16 bits: shifts and scales of a few numbers save nothing."""


def onnx_model(module: Leaving, size: tuple[int, int], *, open_size: bool, stride: int) -> Any:
    """A network as an ONNX model in memory, without the places of its source.

    Args:
        module: What is exported.
        size: Height and width of the image that it is followed with, and that a fixed file takes.
        open_size: Whether the file takes other sizes as well.
        stride: Of which they are whole multiples.

    Raises:
        ValueError: ``onnx`` or ``onnxscript`` is missing.
    """
    for package in ("onnx", "onnxscript"):
        needed(package, extra="onnx", kind="ONNX", where="export")
    sides = None
    if open_size:
        sides = ({axis: stride * Dim(name, min=2, max=MOST_STRIDES) for axis, name in ((2, "rows"), (3, "columns"))},)
    with quiet():
        program = torch.onnx.export(
            module,
            (module.example(size),),
            input_names=["image"],
            output_names=list(module.outputs),
            dynamic_shapes=sides,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ValueError("ONNX: the exporter of torch gave nothing")
    model = program.model_proto
    _name_parts(model, module.network.names)
    _forget_places(model)
    return model


def save_onnx(model: Any, header: ExportHeader, path: Path) -> None:
    """Write one file, with its header."""
    del model.metadata_props[:]
    model.metadata_props.add(key=KEY, value=header.to_json())
    model.producer_name = "stackdepth"
    write_bytes(path, model.SerializeToString())


def halve_weights(model: Any) -> None:
    """Keep large weights in 16 bits; what computes with them gets them in 32."""
    import onnx  # pyright: ignore[reportMissingImports]

    graph = model.graph
    casts = []
    for weight in graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and np.prod(weight.dims) >= SMALLEST_HALVED:
            name = weight.name
            values = onnx.numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(onnx.numpy_helper.from_array(values, f"{name}_half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])


def _name_parts(model: Any, learners: Sequence[str]) -> None:
    """Begin the name of every node with its part: a learner, or the meta-learner with what follows it."""
    for node in model.graph.node:
        scope = next((each.value for each in node.metadata_props if each.key == "namespace"), "")
        found = re.search(r"network\.members\.(\d+)", scope)
        part = learners[int(found.group(1))] if found else META if "network.meta" in scope else ""
        node.name = f"{part}{SEPARATOR}{node.name}"


def _forget_places(model: Any) -> None:
    """Every node carries the lines of our source that made it, with the folders of this machine."""
    for graph in (model.graph, *model.functions):
        named = [graph, *graph.node]
        if graph is model.graph:
            named += [*graph.initializer, *graph.input, *graph.output, *graph.value_info]
        for each in named:
            if hasattr(each, "metadata_props"):
                del each.metadata_props[:]
            if hasattr(each, "doc_string"):
                each.doc_string = ""
