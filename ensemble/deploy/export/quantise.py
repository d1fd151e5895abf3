"""ONNX models with weights and activations of 8 bits, for ONNX Runtime."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.data.formats.packages import needed
from ensemble.deploy.export.quiet import quiet


class _Images:
    """Images one after the other, as the calibration asks for them."""

    def __init__(self, images: Sequence[np.ndarray]) -> None:
        self._left: Iterator[np.ndarray] = iter(images)

    def get_next(self) -> dict[str, np.ndarray] | None:
        image = next(self._left, None)
        return None if image is None else {"image": image}


def quantised_onnx(model: Any, images: Sequence[np.ndarray], folder: Path) -> Any:
    """The same with convolutions of 8 bits, a range for every channel of their filters.

    Convolutions alone: sums of residuals, as of Laplacian pyramids, lose most of their depth in 8 bits.

    Args:
        model: In 32 bits.
        images: [1 3 h w], whose activations tell the ranges.
        folder: For files in between.

    Raises:
        ValueError: ``onnxruntime`` is missing.
    """
    needed("onnxruntime", extra="onnx", kind="8 bits for ONNX", where="export")
    import onnx  # pyright: ignore[reportMissingImports]
    from onnxruntime import quantization  # pyright: ignore[reportMissingImports]

    whole, small = folder / "whole.onnx", folder / "small.onnx"
    onnx.save(model, whole)
    with quiet():
        quantization.quantize_static(
            str(whole),
            str(small),
            _Images(images),  # pyright: ignore[reportArgumentType]  (all that is asked of its class)
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=["Conv"],
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
    return onnx.load(small)
