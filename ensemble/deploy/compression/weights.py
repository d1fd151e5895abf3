"""Recipes that change the numbers of weights and leave their shapes as they are."""

from collections.abc import Sequence
from typing import Any

import numpy as np

LEAST = 64
"""Numbers that a weight has at least to be worth a recipe."""

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators of ONNX that multiply by weights."""


def weights_of(model: Any) -> list[Any]:
    """The weights of convolutions and matrix products of an ONNX model, where they are large enough."""
    read = {name for node in model.graph.node if node.op_type in PRODUCTS for name in node.input[:2]}
    return [each for each in model.graph.initializer if each.name in read and np.prod(each.dims) >= LEAST]


def change_weights(model: Any, changed: Sequence[np.ndarray]) -> None:
    """Put other numbers in the place of ``weights_of`` an ONNX model."""
    import onnx  # pyright: ignore[reportMissingImports]

    for weight, values in zip(weights_of(model), changed, strict=True):
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))


def without_smallest(weights: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
    """Zeros in the place of the smallest weights of all layers together.

    Args:
        weights: Of all layers.
        share: Of the weights, from 0 to 1.

    Source: Han et al. 2015, Learning both Weights and Connections, section 3 (magnitude), without training again.
    """
    sizes = np.concatenate([np.abs(weight).ravel() for weight in weights])
    count = round(share * len(sizes))
    if not count:
        return list(weights)
    limit = np.partition(sizes, count - 1)[count - 1]
    return [np.where(np.abs(weight) <= limit, np.zeros_like(weight), weight) for weight in weights]


def clustered(weight: np.ndarray, values: int) -> np.ndarray:
    """The same shape with so many different numbers; 16 fit into 4 bits.

    Source: Han et al. 2016, Deep Compression, section 3 (linear initial values), without training again.
    """
    from sklearn.cluster import KMeans

    own = weight.reshape(-1, 1).astype(np.float64)
    first = np.linspace(own.min(), own.max(), values).reshape(-1, 1)
    found = KMeans(values, init=first, max_iter=30).fit(own)  # where to begin is given, so it begins once
    return found.cluster_centers_[found.labels_].reshape(weight.shape).astype(weight.dtype)
