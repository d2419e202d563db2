"""Gradients of TensorFlow operations in LiteRT builtins only.

LiteRT runs forward passes; of TensorFlow's gradients it lacks the ones that
are operations of their own, such as `Conv2DBackpropFilter` or `ReluGrad`.
`TABLE` writes those with operations it has, in one row for each operation
type. To add a row, write a function of `(op, *gradients)` in the file of its
noun, put it in the table, and a case in that file's tests.

An operation that is not in the table keeps TensorFlow's own gradient, which
converts; for those known not to (Conv3D, LRN, Prod, Lgamma), the converter
names what is missing.
"""

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from keras_split.litert.lowering import activations
from keras_split.litert.lowering import conv
from keras_split.litert.lowering import depthwise
from keras_split.litert.lowering import normalization
from keras_split.litert.lowering import pooling
from keras_split.litert.lowering import shapes
from keras_split.litert.lowering.conv import convolve

__all__ = ["TABLE", "builtin_gradients", "convolve"]

TABLE: dict[str, Callable[..., Any]] = {
    "AvgPool": pooling.average_pool,
    "Conv2D": conv.conv2d,
    "Conv2DBackpropInput": conv.conv2d_backprop_input,
    "DepthwiseConv2dNative": depthwise.depthwise_conv2d,
    "Elu": activations.elu,
    "FusedBatchNormV3": normalization.fused_batch_norm,
    "Inv": activations.reciprocal,
    "LeakyRelu": activations.leaky_relu,
    "MaxPool": pooling.max_pool,
    "MirrorPad": shapes.mirror_pad,
    "Mul": activations.mul,
    "Pack": shapes.pack,
    "Reciprocal": activations.reciprocal,
    "Relu": activations.relu,
    "Relu6": activations.relu6,
    "ResizeBilinear": shapes.resize,
    "ResizeNearestNeighbor": shapes.resize,
    "Rsqrt": activations.rsqrt,
    "Selu": activations.selu,
    "Softsign": activations.softsign,
    "Sqrt": activations.sqrt,
    "StridedSlice": shapes.strided_slice,
    "Tile": shapes.tile,
}

for _op_type, _gradient in TABLE.items():
    tf.RegisterGradient(f"KerasSplit{_op_type}")(_gradient)


@contextlib.contextmanager
def builtin_gradients() -> Iterator[None]:
    """Operations traced inside get their gradients from `TABLE`.

    For use inside a `tf.function`. The choice is stored in the operation, so
    the forward pass must be traced here; `tf.gradients` reads it, but a
    `GradientTape` does not. To save the function, use
    `tf.saved_model.SaveOptions(experimental_custom_gradients=False)`.

    Example:
    >>> @tf.function
    ... def slope(x):
    ...     with builtin_gradients():
    ...         return tf.gradients(tf.nn.relu(x), x)[0]
    >>> slope(tf.constant([-1.0, 2.0])).numpy()
    array([0., 1.], dtype=float32)
    >>> ops = slope.get_concrete_function(tf.ones(2)).graph.get_operations()
    >>> any(op.type == "ReluGrad" for op in ops)
    False
    """
    graph = tf.compat.v1.get_default_graph()
    with graph.gradient_override_map(
        {op_type: f"KerasSplit{op_type}" for op_type in TABLE}
    ):
        yield
