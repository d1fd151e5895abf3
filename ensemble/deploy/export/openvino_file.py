"""A network as two files of OpenVINO, made of its ONNX model, which is what converts without surprises."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.data.formats.packages import needed
from ensemble.deploy.export.quiet import quiet
from ensemble.deploy.runtime.header import KEY, ExportHeader


def openvino_model(onnx_path: Path) -> Any:
    """An ONNX file as a model of OpenVINO.

    Raises:
        ValueError: The package is missing.
    """
    for package in ("packaging", "openvino"):
        needed(package, extra="openvino", kind="OpenVINO", where="export")
    import openvino  # pyright: ignore[reportMissingImports]

    return openvino.Core().read_model(str(onnx_path))  # convert_model tells Intel that it was used


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

    nncf.set_log_level(logging.ERROR)
    data = nncf.Dataset(list(images), lambda image: {"image": image})
    left_alone = nncf.IgnoredScope(names=_products_of_weights(model))
    # with the defaults AdaBins does not compile (its queries would be quantised as those of a convolution)
    kind = nncf.ModelType.TRANSFORMER
    with quiet():
        return nncf.quantize(model, data, model_type=kind, subset_size=len(images), ignored_scope=left_alone)


def _products_of_weights(model: Any) -> list[str]:
    """Matrix products whose first factor is a weight, as that of AdaBins' bins with its queries.

    In 8 bits the weight has a scale for each of its rows, which OpenVINO (2026.4.1, with nncf 3.4.0) takes for those of
    columns: AdaBins of the published widths did not compile.
    """
    products = (each for each in model.get_ops() if each.get_type_name() == "MatMul")
    first = ((each.get_friendly_name(), each.input_value(0).get_node().get_type_name()) for each in products)
    return [name for name, kind in first if kind == "Constant"]
