#!/usr/bin/env bash
# ONNX Runtime 1.32.0: `quantize_dynamic(..., per_channel=True)` quantises matrix products with a scale for every
# channel, and convolutions with one scale for the whole tensor, without a word: the option is taken and unheard.
#
# One would guess: every channel its own range, as `quantize_static(..., per_channel=True)` gives the same convolution,
# or a failure. It matters for networks of depth on phones: filters of depthwise convolutions with folded norms differ by
# orders of magnitude between channels, and those of small ones all become zero. Here three of four channels do.
#
# Seen on CPython 3.11, Linux x86_64:
#   dynamic: MatMulInteger scales [4], Conv or ConvInteger scales []
#   dynamic: channels whose filters are all zero 3 of 4
#   static: Conv scales [4]
#   static: channels whose filters are all zero 0 of 4
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

cat > "$folder/look.py" <<'PY'
import logging

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

logging.disable(logging.WARNING)
sizes = np.array([10, 0.01, 0.005, 0.001], np.float32)  # a filter each, as after norms are folded in
filters = sizes[:, None, None, None] * np.random.default_rng(0).uniform(0.5, 1, (4, 1, 3, 3)).astype(np.float32)
product = sizes * np.ones((4, 4), np.float32)
nodes = [
    helper.make_node("Conv", ["image", "filters"], ["maps"], group=4, pads=[1, 1, 1, 1]),
    helper.make_node("Transpose", ["maps"], ["last"], perm=[0, 2, 3, 1]),
    helper.make_node("MatMul", ["last", "product"], ["out"]),
]
graph = helper.make_graph(
    nodes,
    "depthwise",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 4, 8, 8])],
    [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 8, 8, 4])],
    [numpy_helper.from_array(filters, "filters"), numpy_helper.from_array(product, "product")],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), "plain.onnx")


class Images(quantization.CalibrationDataReader):
    def __init__(self):
        self.left = [{"image": np.random.default_rng(1).random((1, 4, 8, 8), np.float32)}]

    def get_next(self):
        return self.left.pop() if self.left else None


def told(kind, name):
    constants = {each.name: numpy_helper.to_array(each) for each in onnx.load(f"{kind}.onnx").graph.initializer}
    small = constants["filters_quantized"].astype(int)
    zero = constants["filters_zero_point"].astype(int).reshape(-1, 1, 1, 1)
    empty = int((small == zero).reshape(4, -1).all(axis=1).sum())
    scales = list(constants["filters_scale"].shape)
    if name:
        print(f"{kind}: MatMulInteger scales {list(constants['product_scale'].shape)}, {name} scales {scales}")
    else:
        print(f"{kind}: Conv scales {scales}")
    print(f"{kind}: channels whose filters are all zero {empty} of 4")


weights = {"weight_type": quantization.QuantType.QUInt8, "per_channel": True}
quantization.quantize_dynamic("plain.onnx", "dynamic.onnx", **weights)
told("dynamic", "Conv or ConvInteger")
weights["weight_type"] = quantization.QuantType.QInt8
quantization.quantize_static("plain.onnx", "static.onnx", Images(), **weights)
told("static", None)
PY

(cd "$folder" && venv/bin/python look.py 2>/dev/null) | grep -a -E '^(dynamic|static):' | tee "$folder/seen"
sed -n 's/^#   \(\(dynamic\|static\):.*\)$/\1/p' "$0" | diff - "$folder/seen"
echo "as stated: ONNX Runtime's dynamic quantisation has one scale for all channels of a convolution"
