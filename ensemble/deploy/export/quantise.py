"""ONNX models with weights and activations of 8 bits, for ONNX Runtime; ranges are told learner by learner.

What a network says last stays in 32 bits: convolutions that no other one reads and everything behind them, for 256
steps of depth are few. Of networks that add up residuals over a pyramid only convolutions are of 8 bits.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ensemble.data.formats.packages import needed
from ensemble.deploy.export.onnx_file import SEPARATOR
from ensemble.deploy.export.quiet import quiet

CONVOLUTIONS_ALONE = frozenset({"ldrn"})
"""Architectures whose other operators stay in 32 bits: sums of residuals lose most of their depth in 8 bits."""

OPERATORS = ("Conv", "Relu", "Clip", "LeakyRelu", "Add", "Resize", "Concat", "MaxPool", "GlobalAveragePool", "Split")
"""What is of 8 bits elsewhere; what moves or scales numbers that stay in 32 bits is not worth two conversions."""


@dataclass(frozen=True)
class Part:
    """Nodes that are quantised together.

    Attributes:
        name: Of the learner, or of the meta-learner.
        inputs: Names of the values that come from outside.
        outputs: Names of the values that others read.
        nodes: Names of the nodes of 8 bits.
        operators: Kinds of these.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]
    operators: tuple[str, ...]


class _Images:
    """Inputs of a part, one after the other, as the calibration asks for them."""

    def __init__(self, feeds: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._left: Iterator[Mapping[str, np.ndarray]] = iter(feeds)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self._left, None)


def quantised_onnx(
    model: Any, images: Sequence[np.ndarray], folder: Path, *, convolutions_alone: Collection[str] = ()
) -> Any:
    """The same in 8 bits, with a range for every channel of the filters.

    One part after the other is run on one image after the other, so that never more than the values of one learner and
    one image are in memory.

    Args:
        model: In 32 bits.
        images: [1 3 h w], whose activations tell the ranges.
        folder: For files in between.
        convolutions_alone: Learners of which nothing but convolutions is to be of 8 bits.

    Raises:
        ValueError: ``onnxruntime`` is missing.
    """
    needed("onnxruntime", extra="onnx", kind="8 bits for ONNX", where="export")
    import onnx  # pyright: ignore[reportMissingImports]
    from onnxruntime import quantization  # pyright: ignore[reportMissingImports]
    from onnxruntime.quantization.calibrate import TensorsData  # pyright: ignore[reportMissingImports]
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer  # pyright: ignore[reportMissingImports]

    with quiet():
        model = onnx.shape_inference.infer_shapes(model)
        parts = parts_of(model, convolutions_alone)
        ranges: dict[str, Any] = {}
        for part in parts:
            ranges.update(_ranges(model, part, _feeds(model, part, images, folder), folder))
        quantiser = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=quantization.QuantType.QInt8,
            activation_qType=quantization.QuantType.QUInt8,
            tensors_range=TensorsData(quantization.CalibrationMethod.MinMax, ranges),
            nodes_to_quantize=[name for part in parts for name in part.nodes],
            nodes_to_exclude=[],
            op_types_to_quantize=sorted({kind for part in parts for kind in part.operators}),
            extra_options={},
        )
        quantiser.quantize_model()
    return quantiser.model.model


def quantised_dynamically(model: Any, folder: Path) -> Any:
    """The same with weights of 8 bits, and activations whose ranges are found anew for every image.

    Matrix products have a range for every channel of their weights; convolutions have one for all, for ONNX Runtime
    (1.32) makes and computes no others with such activations.

    Raises:
        ValueError: ``onnxruntime`` is missing.
    """
    needed("onnxruntime", extra="onnx", kind="8 bits for ONNX", where="export")
    import onnx  # pyright: ignore[reportMissingImports]
    from onnxruntime import quantization  # pyright: ignore[reportMissingImports]

    whole, small = folder / "whole.onnx", folder / "small.onnx"
    onnx.save(model, whole)
    with quiet():
        quantization.quantize_dynamic(whole, small, per_channel=True, weight_type=quantization.QuantType.QUInt8)
    return onnx.load(small)


def parts_of(model: Any, convolutions_alone: Collection[str]) -> list[Part]:
    """The learners, then the meta-learner, as they stand in the names of nodes; parts without convolutions are none."""
    nodes = list(model.graph.node)
    made = {name: index for index, node in enumerate(nodes) for name in node.output}
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for name in node.input:
            readers.setdefault(name, []).append(index)
    weights = {weight.name for weight in model.graph.initializer}
    own: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        own.setdefault(node.name.partition(SEPARATOR)[0], []).append(index)
    found = []
    for name, members in own.items():
        inside, alone = set(members), name in convolutions_alone
        small = _small(nodes, members, inside, readers, ("Conv",) if alone else OPERATORS)
        if not name or not small:
            continue
        read = (value for index in members for value in nodes[index].input if value and value not in weights)
        told = (value for index in members for value in nodes[index].output)
        finals = {value.name for value in model.graph.output}
        found.append(
            Part(
                name,
                tuple(dict.fromkeys(value for value in read if made.get(value) not in inside)),
                tuple(v for v in told if v in finals or any(i not in inside for i in readers.get(v, ()))),
                tuple(nodes[index].name for index in small),
                tuple(sorted({nodes[index].op_type for index in small})),
            )
        )
    return found


def eight_bit_filters(model: Any, convolutions_alone: Collection[str] = ()) -> set[str]:
    """Names of the filters of convolutions that ``quantised_onnx`` makes of 8 bits: those of the network's weights."""
    small = {name for part in parts_of(model, convolutions_alone) for name in part.nodes}
    return {node.input[1] for node in model.graph.node if node.op_type == "Conv" and node.name in small}


def _small(
    nodes: Sequence[Any],
    members: Sequence[int],
    inside: set[int],
    readers: Mapping[str, Sequence[int]],
    operators: Collection[str],
) -> list[int]:
    """Nodes of a part before its last convolutions; nodes stand in the order in which they are computed."""
    before: set[int] = set()  # what a convolution of this part reads, if through others
    for index in reversed(members):
        following = {reader for name in nodes[index].output for reader in readers.get(name, ()) if reader in inside}
        if any(nodes[reader].op_type == "Conv" or reader in before for reader in following):
            before.add(index)
    return [index for index in members if index in before and nodes[index].op_type in operators]


def _feeds(
    model: Any, part: Part, images: Sequence[np.ndarray], folder: Path
) -> Iterator[dict[str, np.ndarray]] | list[dict[str, np.ndarray]]:
    """What comes into a part for every image: what nodes before it have made of that."""
    import onnx  # pyright: ignore[reportMissingImports]
    import onnxruntime  # pyright: ignore[reportMissingImports]

    if part.inputs == ("image",):
        return [{"image": image} for image in images]
    names = [name for name in part.inputs if name != "image"]
    extractor = onnx.utils.Extractor(model)
    onnx.save(extractor.extract_model(["image"], names), folder / "before.onnx")
    session = onnxruntime.InferenceSession(folder / "before.onnx", providers=["CPUExecutionProvider"])
    feeds = []
    for image in images:
        feed = dict(zip(names, session.run(names, {"image": image}), strict=True))
        feeds.append({**feed, "image": image} if "image" in part.inputs else feed)
    return feeds


def _ranges(model: Any, part: Part, feeds: Any, folder: Path) -> Mapping[str, Any]:
    """The least and the largest number of every value of a part."""
    import onnx  # pyright: ignore[reportMissingImports]
    from onnxruntime.quantization import calibrate  # pyright: ignore[reportMissingImports]

    extractor = onnx.utils.Extractor(model)
    onnx.save(extractor.extract_model(list(part.inputs), list(part.outputs)), folder / "part.onnx")
    calibrator = calibrate.create_calibrator(
        folder / "part.onnx", list(part.operators), str(folder / "augmented.onnx"), calibrate.CalibrationMethod.MinMax
    )
    for feed in feeds:
        calibrator.create_inference_session()  # one that computes again plans its memory beside that of the first time
        calibrator.collect_data(_Images([feed]))  # pyright: ignore[reportArgumentType]  (all that is asked of its class)
    return calibrator.compute_data().data
