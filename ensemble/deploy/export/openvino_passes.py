"""The graph of a network as OpenVINO computes it fastest on a processor; what it says differs by rounding alone.

Seen with OpenVINO 2026.4.1 on x86-64: a stack of the published widths takes 4 % less time in 32 bits so, 10 % in 8.
"""

from typing import Any

import numpy as np

DOUBLED = "doubled"
"""Begins the names of convolutions that stand for an enlargement: their filters are weights of interpolation."""

_FEW = 3
"""Channels, at most, of maps that are enlarged by a convolution; of more OpenVINO's own interpolation is as fast."""

_NEAR, _FAR = 0.75, 0.25
"""Weights of the nearer and the farther pixel where the side is doubled and pixels are areas (``half_pixel``)."""


def arrange(model: Any, *, bf16: bool = False) -> None:
    """Change a model of OpenVINO in place: planes, products of pixels, and maps of few channels that are enlarged.

    Args:
        model: As it is read from an ONNX file.
        bf16: Whether it will compute in 16 bits, in which the one kernel of AdaBins' bins errs by tenths of a metre.
    """
    for operation in model.get_ordered_ops():
        kind = operation.get_type_name()
        if kind == "Split":
            _split_first(operation)
        elif kind == "MatMul" and not bf16:
            _pixels_as_rows(operation)
        elif kind == "Interpolate":
            _double_by_convolution(operation)
        elif kind == "Sigmoid":
            _sigmoid_of_rows(operation)
        elif kind == "Concat":
            _join_planes(operation)
    model.validate_nodes_and_infer_types()


def _split_first(split: Any) -> None:
    """Take planes apart before they are repeated, not after: a plane of one channel is repeated many times as fast."""
    from openvino import opset13  # pyright: ignore[reportMissingImports]

    enlarged = split.input_value(0).get_node()
    if enlarged.get_type_name() != "Interpolate" or len(enlarged.output(0).get_target_inputs()) > 1:
        return
    told, many = enlarged.get_attributes(), enlarged.input_value(1).get_node()
    if told["mode"] != "nearest" or many.get_type_name() != "Constant" or enlarged.get_input_size() > 2:
        return
    if _constant(split.input_value(1)) != [1]:
        return
    each = many.get_data().copy()
    if told["shape_calculation_mode"] == "sizes":
        each[1] = each[1] // split.get_output_size()
    elif each[1] != 1:
        return
    planes = opset13.split(enlarged.input_value(0), split.input_value(1), split.get_output_size())
    for index in range(split.get_output_size()):
        plane = opset13.interpolate(
            planes.output(index),
            opset13.constant(each),
            told["mode"],
            told["shape_calculation_mode"],
            coordinate_transformation_mode=told["coordinate_transformation_mode"],
            nearest_mode=told["nearest_mode"],
        )
        _replace(split.output(index), plane)


def _pixels_as_rows(product: Any) -> None:
    """Lay the channels of a pixel together where they are multiplied, as they lie already, in place of turning them.

    With AdaBins' softmax over bins and the mean of their centres behind it OpenVINO makes one kernel of it then, as of
    attention, which never writes the probability of every bin at every pixel.
    """
    from openvino import opset13  # pyright: ignore[reportMissingImports]

    turned = product.input_value(0).get_node()
    if turned.get_type_name() != "Transpose" or _constant(turned.input_value(1)) != [0, 2, 1]:
        return
    flat = turned.input_value(0).get_node()
    if flat.get_type_name() != "Reshape" or flat.get_output_partial_shape(0).rank.get_length() != 3:
        return
    maps = flat.input_value(0)
    shape = maps.get_partial_shape()
    if shape.rank.is_dynamic or shape.rank.get_length() != 4 or shape[1].is_dynamic:
        return
    channels = shape[1].get_length()
    if flat.get_output_partial_shape(0)[1] != channels:
        return
    last = opset13.transpose(maps, np.array([0, 2, 3, 1]))
    rows = opset13.reshape(last, np.array([0, -1, channels]), special_zero=True)
    product.input(0).replace_source_output(rows.output(0))


def _double_by_convolution(enlarged: Any) -> None:
    """Double both sides of a map of few channels by four small filters, one for each of the pixels that one becomes.

    OpenVINO's interpolation works on as many channels at once as a register has numbers, and wastes the others.
    """
    from openvino import opset13  # pyright: ignore[reportMissingImports]

    told = enlarged.get_attributes()
    if told["mode"] != "linear_onnx" or told["coordinate_transformation_mode"] != "half_pixel" or told["antialias"]:
        return
    before, after = enlarged.get_input_partial_shape(0), enlarged.get_output_partial_shape(0)
    if before.is_dynamic or after.is_dynamic:
        return
    batch, channels, height, width = before.to_shape()
    if channels > _FEW or [*after.to_shape()] != [batch, channels, 2 * height, 2 * width]:
        return
    around = np.array([0, 0, 1, 1])
    bordered = opset13.pad(enlarged.input_value(0), around, around, "edge")
    filters = np.tile(_filters(), (channels, 1, 1, 1, 1)).astype(np.float32)
    once, nothing = [1, 1], [0, 0]
    if channels == 1:
        four = opset13.convolution(bordered, filters[0], once, nothing, nothing, once)
    else:
        four = opset13.group_convolution(bordered, filters, once, nothing, nothing, once)
    four.set_friendly_name(f"{DOUBLED}_{enlarged.get_friendly_name()}")
    _replace(enlarged.output(0), opset13.depth_to_space(four, "depth_first", 2))


def _sigmoid_of_rows(sigmoid: Any) -> None:
    """Take the sigmoid of one channel along its rows: behind a convolution each of its pixels costs a whole register.

    Where it is joined with other maps it stays, as these keep their 8 bits only where nothing stands between.
    """
    from openvino import opset13  # pyright: ignore[reportMissingImports]

    if any(reader.get_node().get_type_name() == "Concat" for reader in sigmoid.output(0).get_target_inputs()):
        return
    shape = _plane(sigmoid.input_value(0))
    if shape is None:
        return
    rows = opset13.sigmoid(opset13.reshape(sigmoid.input_value(0), np.array([shape[0], -1]), special_zero=False))
    _replace(sigmoid.output(0), opset13.reshape(rows, np.array(shape), special_zero=False))


def _join_planes(joined: Any) -> None:
    """Join maps of one channel one behind the other, and lay their pixels side by side after it, all at once."""
    from openvino import opset13  # pyright: ignore[reportMissingImports]

    planes = joined.input_values()
    shapes = [_plane(plane) for plane in planes]
    if joined.get_attributes()["axis"] != 1 or shapes[0] is None or any(shape != shapes[0] for shape in shapes):
        return
    batch, _, height, width = shapes[0]
    rows = [opset13.reshape(plane, np.array([batch, 1, -1]), special_zero=False) for plane in planes]
    together = np.array([batch, len(planes), height, width])
    _replace(joined.output(0), opset13.reshape(opset13.concat(rows, 1), together, special_zero=False))


def _plane(value: Any) -> list[int] | None:
    """The shape of a map of one channel whose size is known, ``[B 1 H W]``; None of every other value."""
    shape = value.get_partial_shape()
    if shape.is_dynamic or len(shape) != 4 or shape[1] != 1:
        return None
    sides = [*shape.to_shape()]
    return sides if sides[2] * sides[3] > 1 else None


def _filters() -> np.ndarray:
    """Of the four pixels that one becomes: [1 4 1 3 3]."""
    sides = np.array([[_FAR, _NEAR, 0], [0, _NEAR, _FAR]])
    return np.einsum("ik,jl->ijkl", sides, sides).reshape(1, 4, 1, 3, 3)


def _constant(value: Any) -> list[int] | None:
    node = value.get_node()
    return np.atleast_1d(node.get_data()).tolist() if node.get_type_name() == "Constant" else None


def _replace(output: Any, by: Any) -> None:
    for reader in output.get_target_inputs():
        reader.replace_source_output(by.output(0))
