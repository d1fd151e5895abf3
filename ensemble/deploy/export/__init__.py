"""A stack as a file for a runtime that is not torch, which gives the same depth or is not written.

In this order: ``module`` (what is exported), ``onnx_file``, ``openvino_file``, ``torch_file`` and ``executorch_file``
(how), ``frames`` and ``parity`` (the gate), ``write`` (all of it).
"""

PRECISIONS = {
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "fp16", "bf16", "int8"),
    "executorch": ("fp32", "int8"),
    "torch": ("fp32",),
}
"""What there is for every kind of file; the first is the default."""

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "executorch": ".pte", "torch": ".pt2"}
"""How the names of such files end."""
