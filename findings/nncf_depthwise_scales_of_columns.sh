#!/usr/bin/env bash
# A depthwise convolution comes out of ONNX with filters [c 1 3 3]; OpenVINO's reader keeps them and reshapes them to
# [c 1 1 3 3] in the graph. nncf.quantize takes that reshape for data and gives the 8-bit filter one scale for every
# column of the kernel of a channel ([c 1 1 1 3]) where it gives [c 1 1 1 1] to the very same network once the reshape
# is folded (openvino.passes.ConstantFolding). Columns with scales of their own cannot be computed in whole numbers:
# OpenVINO runs every depthwise convolution in 32 bits, without a word, and the model counts as quantised. Networks of
# the MobileNet, EfficientNet and GhostNet kinds lose a fifth of their speed in 8 bits so.
#
# openvino 2026.4.1, nncf 3.4.0, onnx 1.23.2, Linux x86-64 with AVX-512 VNNI, seen:
#   "as read: scales [8, 1, 1, 1, 3], runs as f32; folded: scales [8, 1, 1, 1, 1], runs as I8"
# Expected by most: one scale a channel for both, as for ordinary convolutions of the same file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 nncf==3.4.0 onnx==1.23.2 numpy==2.4.6
cd "$folder"
NNCF_CI=1 "$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { tail -5 "$folder/log"; exit 1; }
import nncf
import numpy as np
import onnx
import openvino
from onnx import TensorProto, helper, numpy_helper
from openvino.passes import ConstantFolding, Manager

random = np.random.default_rng(0)
filters = random.normal(size=(8, 1, 3, 3)).astype(np.float32)
bring = random.normal(size=(8, 3, 1, 1)).astype(np.float32)
nodes = [
    helper.make_node("Conv", ["image", "bring"], ["x"]),
    helper.make_node("Relu", ["x"], ["y"]),
    helper.make_node("Conv", ["y", "filters"], ["out"], group=8, pads=[1, 1, 1, 1]),
]
graph = helper.make_graph(
    nodes,
    "depthwise",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 64, 64])],
    [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 8, 64, 64])],
    [numpy_helper.from_array(filters, "filters"), numpy_helper.from_array(bring, "bring")],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), "net.onnx")
images = [random.random((1, 3, 64, 64), np.float32) for _ in range(4)]


def told(*, folded: bool) -> str:
    core = openvino.Core()
    model = core.read_model("net.onnx")
    if folded:
        passes = Manager()
        passes.register_pass(ConstantFolding())
        passes.run_passes(model)
    small = nncf.quantize(model, nncf.Dataset(images, lambda image: {"image": image}), subset_size=4)
    (layer,) = (each for each in small.get_ops() if each.get_type_name() == "GroupConvolution")
    weight = layer.input_value(1).get_node()
    scales = [int(str(side)) for side in weight.input_value(1).get_partial_shape()]
    compiled = core.compile_model(small, "CPU", {"PERF_COUNT": "YES", "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    request.infer([images[0]])
    (ran,) = (each.exec_type for each in request.get_profiling_info() if each.node_type == "GroupConvolution")
    return f"scales {scales}, runs as {ran.rpartition('_')[2]}"


said = f"as read: {told(folded=False)}; folded: {told(folded=True)}"
print(said)
assert said == (
    "as read: scales [8, 1, 1, 1, 3], runs as f32; folded: scales [8, 1, 1, 1, 1], runs as I8"
), "this has changed"
PYTHON
