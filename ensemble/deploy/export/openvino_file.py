"""A network as two files of OpenVINO, made of its ONNX model, which is what converts without surprises."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.data.formats.packages import needed
from ensemble.deploy.export.openvino_passes import DOUBLED, arrange
from ensemble.deploy.export.quiet import quiet
from ensemble.deploy.runtime.header import KEY, ExportHeader

_OF_MAPS = frozenset({"Add", "Subtract", "Multiply", "Divide", "Interpolate", "ReduceMean", "Sigmoid", "Clamp"})
"""Kinds of operators that make maps of depth out of others."""


def openvino_model(onnx_path: Path, *, bf16: bool = False) -> Any:
    """An ONNX file as a model of OpenVINO.

    Args:
        onnx_path: The file.
        bf16: Whether the model will compute in bf16.

    Raises:
        ValueError: The package is missing.
    """
    for package in ("packaging", "openvino"):
        needed(package, extra="openvino", kind="OpenVINO", where="export")
    import openvino  # pyright: ignore[reportMissingImports]

    model = openvino.Core().read_model(str(onnx_path))  # convert_model tells Intel that it was used
    arrange(model, bf16=bf16)
    return model


def save_openvino(model: Any, header: ExportHeader, path: Path) -> None:
    """Write the file and its weights beside it; a name that does not end in .xml is not for OpenVINO."""
    import openvino  # pyright: ignore[reportMissingImports]

    model.set_rt_info(header.to_json(), KEY)
    openvino.save_model(model, str(path), compress_to_fp16=header.precision == "fp16")


def quantised(model: Any, images: Sequence[np.ndarray]) -> Any:
    """The same with weights and activations of 8 bits, as far as they stand that.

    Args:
        model: Of OpenVINO.
        images: [1 3 h w], whose activations tell the ranges.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else it tells Intel that it was used
    needed("nncf", extra="openvino", kind="8 bits for OpenVINO", where="export")
    import nncf  # pyright: ignore[reportMissingImports]

    _fold_constants(model)
    nncf.set_log_level(logging.ERROR)
    data = nncf.Dataset(list(images), lambda image: {"image": image})
    left_alone = nncf.IgnoredScope(names=_left_alone(model))
    # with the defaults AdaBins does not compile (its queries would be quantised as those of a convolution)
    kind = nncf.ModelType.TRANSFORMER
    with quiet():
        return nncf.quantize(model, data, model_type=kind, subset_size=len(images), ignored_scope=left_alone)


def _fold_constants(model: Any) -> None:
    """Make filters of depthwise convolutions, which come as a reshaped constant out of ONNX, constants themselves.

    Else their 8 bits have a scale for every column of a filter in place of one for every channel (nncf 3.4.0), which
    OpenVINO computes in 32 bits: a fifth of the time of a stack.
    """
    from openvino.passes import ConstantFolding, Manager  # pyright: ignore[reportMissingImports]

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)


def _left_alone(model: Any) -> list[str]:
    """What stays in 32 bits: maps of depth, and matrix products that 8 bits break, or make slower.

    Maps of one channel are depth, or what is added to it on the way to it: 256 steps of that are few. LDRN, which adds
    up residuals over a pyramid, loses .020 of d1 with them in 8 bits and .003 without (docs/benchmarks.md).

    Products whose first factor is a weight, as that of AdaBins' bins with its queries: in 8 bits the weight has a scale
    for each of its rows, which OpenVINO (2026.4.1, with nncf 3.4.0) takes for those of columns, and AdaBins of the
    published widths did not compile. And means, whose result has one column, as that over the bins: they are computed
    in 32 bits all the same, of probabilities that were rounded to 256 steps first.
    """
    products = [each for each in model.get_ops() if each.get_type_name() == "MatMul"]
    of_weights = {each for each in products if each.input_value(0).get_node().get_type_name() == "Constant"}
    means = {each for each in products if each.get_output_partial_shape(0)[-1] == 1}
    maps = {each for each in model.get_ops() if _is_map(each) or each.get_friendly_name().startswith(DOUBLED)}
    return sorted(each.get_friendly_name() for each in of_weights | means | maps)


def _is_map(operation: Any) -> bool:
    """Whether it makes maps [b 1 h w] out of others; a convolution that tells the first one may have 8 bits itself."""
    shape = operation.get_output_partial_shape(0) if operation.get_output_size() else None
    told = shape is not None and shape.rank.is_static and shape.rank.get_length() == 4 and shape[1] == 1
    return told and operation.get_type_name() in _OF_MAPS
