"""How many weights of a file are not zero: factors of convolutions and matrix products, in 32, 16 or 8 bits.

Biases, scales, zero points, shapes and places are none. Integers stand for numbers: one is zero where it is its zero
point.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ensemble.deploy.compression.weights import PRODUCTS

_SAME = ("Cast", "DequantizeLinear", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators of ONNX that leave a zero where it is one; only their first value is a weight."""

_OPENVINO_PRODUCTS = (
    *("Convolution", "ConvolutionBackpropData", "GroupConvolution", "GroupConvolutionBackpropData", "MatMul"),
)
_OPENVINO_SAME = ("Convert", "FakeQuantize", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Likewise; sides of a shape may be computed."""
_OPENVINO_SCALED = ("Multiply", "Subtract")
"""Of constants alone; what is subtracted is the zero point."""


class Stored(NamedTuple):
    """A weight as a file has it.

    Attributes:
        name: Of the constant.
        values: Any shape.
        zero: What stands for zero; broadcasts to the values.
    """

    name: str
    values: np.ndarray
    zero: np.ndarray | int = 0


def nonzero_weights(runtime: str, path: Path) -> int:
    """Weights of a file that are not zero, each counted once however many read it."""
    stored = _stored_onnx(path) if runtime == "onnx" else _stored_openvino(path)
    return sum(int(np.count_nonzero(each.values != each.zero)) for each in {own.name: own for own in stored}.values())


def _stored_onnx(path: Path) -> Iterator[Stored]:
    import onnx  # pyright: ignore[reportMissingImports]

    graph = onnx.load(path).graph
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        whole = node.op_type.endswith("Integer")  # of these the zero points are the third value and the fourth
        if node.op_type.removesuffix("Integer") not in PRODUCTS:
            continue
        for index, name in enumerate(node.input[:2]):
            found = _followed(name, made, constants)
            if found is not None:
                yield found._replace(zero=_zero(node, 2 + index, constants, found.values)) if whole else found


def _followed(name: str, made: Mapping[str, Any], constants: Mapping[str, np.ndarray]) -> Stored | None:
    """The constant that a value of an ONNX graph is made of; ``None`` where it is made of the image."""
    if name in constants:
        return Stored(name, constants[name])
    node = made.get(name)
    if node is None or node.op_type not in _SAME:
        return None
    found = _followed(node.input[0], made, constants)
    if found is None or node.op_type != "DequantizeLinear":
        return found
    return found._replace(zero=_zero(node, 2, constants, found.values))


def _zero(node: Any, index: int, constants: Mapping[str, np.ndarray], values: np.ndarray) -> np.ndarray | int:
    """A zero point, which is one for all or one for every channel; 0 where the node has none."""
    zero = constants.get(node.input[index]) if len(node.input) > index else None
    if zero is None:
        return 0
    if zero.size == 1:
        return zero.reshape(())
    usual = {"ConvInteger": 0, "MatMulInteger": -1}.get(node.op_type, 1)
    axis = next((each.i for each in node.attribute if each.name == "axis"), usual) % values.ndim
    return zero.reshape([-1 if each == axis else 1 for each in range(values.ndim)])


def _stored_openvino(path: Path) -> Iterator[Stored]:
    import openvino  # pyright: ignore[reportMissingImports]

    for node in openvino.Core().read_model(str(path)).get_ops():
        if node.get_type_name() in _OPENVINO_PRODUCTS:
            found = (_constant(value.get_node()) for value in node.input_values()[:2])
            yield from (each for each in found if each is not None)


def _constant(node: Any) -> Stored | None:
    """What a value of an OpenVINO graph is made of; ``None`` where that is not constants alone."""
    kind = node.get_type_name()
    if kind == "Constant":
        return Stored(node.get_friendly_name(), node.data)
    values = node.input_values()
    if kind in _OPENVINO_SAME:
        return _constant(values[0].get_node())
    if kind not in _OPENVINO_SCALED:
        return None
    known = [each for each in (_constant(value.get_node()) for value in values) if each is not None]
    if len(known) < len(values):
        return None
    return known[0]._replace(zero=known[1].values) if kind == "Subtract" else known[0]
