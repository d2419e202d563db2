"""What a model costs: multiply-adds and elements."""

import math
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import keras

from keras_split.partition.graph import Call
from keras_split.partition.graph import Graph
from keras_split.partition.products import traced_multiply_adds


def elements(shape: Sequence[int | None]) -> int:
    """Number of elements of one example of `shape`."""
    return math.prod(size or 0 for size in shape)


def parameters(models: Iterable[keras.Model]) -> int:
    """Elements of the weights of some models, those they share once."""
    weights = {id(w): w for model in models for w in model.weights}
    return sum(elements(weight.shape) for weight in weights.values())


def multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of one example's forward pass.

    Counts convolutions and dense layers, as papers on mobile networks do, and
    the products of matrices in layers that are made of others, such as a
    transformer's blocks; additions, activations and normalizations are left
    out.
    """
    return sum(call_multiply_adds(call) for call in Graph(model).calls)


def call_multiply_adds(call: Call) -> int:
    """Multiply-adds of one call: kernel elements times positions."""
    layer = call.operation
    kernels = _kernels(layer)
    if not kernels:
        return traced_multiply_adds(call) if _has_matrices(layer) else 0
    shape = call.outputs[0].shape
    if isinstance(layer, keras.layers.Dense):
        positions = elements(shape[:-1])
    elif "Transpose" in type(layer).__name__:
        positions = elements(call.inputs[0].shape[:-1])
    else:
        channels_last = getattr(layer, "data_format", "") != "channels_first"
        positions = elements(shape[:-1] if channels_last else shape[1:])
    return positions * sum(elements(kernel.shape) for kernel in kernels)


def _has_matrices(layer: Any) -> bool:
    """Whether a layer may multiply by weights, in a way that is its own."""
    if type(layer) is keras.layers.Embedding:
        return False  # it looks up rows
    if isinstance(layer, keras.layers.RNN):
        return False  # it multiplies in a loop, which is not seen
    return any(len(w.shape) > 1 for w in getattr(layer, "weights", ()))


def _kernels(layer: Any) -> list[Any]:
    names = ("kernel", "depthwise_kernel", "pointwise_kernel")
    if not isinstance(layer, keras.layers.Layer):
        return []
    if isinstance(layer, keras.layers.EinsumDense):
        return []  # its positions depend on the equation
    found = [getattr(layer, name, None) for name in names]
    return [kernel for kernel in found if hasattr(kernel, "shape")]
