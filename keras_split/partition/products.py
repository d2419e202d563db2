"""Multiply-adds of a layer that is made of others, by looking at what it runs.

A transformer's block is one layer, whose kernels say nothing of its products
of queries and keys. So it is traced for one example, and its products of
matrices and convolutions are counted.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_split.partition.graph import Call
from keras_split.partition.graph import Tensor


def traced_multiply_adds(call: Call) -> int:
    """Multiply-adds of the products of matrices in one call of a layer.

    What runs in a loop of TensorFlow, as a recurrent layer's steps do, is not
    seen, and not counted. Nor is a layer that cannot be traced for one
    example of known shape: it counts nothing, as an activation does.
    """
    try:
        return _traced(call)
    except Exception:  # whatever the code of others raises
        return 0


def _traced(call: Call) -> int:
    given = list(dict.fromkeys(call.inputs))
    specs = [tf.TensorSpec((1, *t.shape), t.spec.dtype) for t in given]

    def run(*values: Any) -> Any:
        made = dict(zip(given, values, strict=True))
        args, kwargs = keras.tree.map_structure(
            lambda x: made[x] if isinstance(x, Tensor) else x,
            (call.args, call.kwargs),
        )
        with keras.StatelessScope():  # what it adds to losses is dropped
            return call.operation(*args, **kwargs)

    graph = tf.function(run).get_concrete_function(*specs).graph
    return sum(
        _COUNTS[operation.type](operation)
        for operation in graph.get_operations()
        if operation.type in _COUNTS
    )


def _product(operation: Any) -> int:
    transposed = operation.get_attr("transpose_a")
    inner = operation.inputs[0].shape[0 if transposed else 1]
    return _elements(operation.outputs[0]) * int(inner)


def _batch_product(operation: Any) -> int:
    inner = operation.inputs[0].shape[-2 if operation.get_attr("adj_x") else -1]
    return _elements(operation.outputs[0]) * int(inner)


def _einsum(operation: Any) -> int:
    """Elements of the result times the sizes that are summed over."""
    read, _, made = operation.get_attr("equation").decode().partition("->")
    sizes: dict[str, int] = {}
    for labels, tensor in zip(read.split(","), operation.inputs, strict=True):
        front, dots, behind = labels.partition("...")
        shape = [int(size) for size in tensor.shape]
        sizes |= dict(zip(front, shape, strict=not dots))
        sizes |= dict(zip(behind[::-1], shape[::-1], strict=False))
    summed = [size for label, size in sizes.items() if label not in made]
    return _elements(operation.outputs[0]) * math.prod(summed)


def _convolution(operation: Any) -> int:
    *window, _ = map(int, operation.inputs[1].shape)
    return _elements(operation.outputs[0]) * math.prod(window)


def _depthwise(operation: Any) -> int:
    height, width, *_ = map(int, operation.inputs[1].shape)
    return _elements(operation.outputs[0]) * height * width


def _elements(tensor: Any) -> int:
    return math.prod(int(size) for size in tensor.shape)


_COUNTS: dict[str, Callable[[Any], int]] = {
    "MatMul": _product,
    "BatchMatMul": _batch_product,
    "BatchMatMulV2": _batch_product,
    "Einsum": _einsum,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
}
