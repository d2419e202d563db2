"""Functions of single values whose stock gradient LiteRT lacks.

Sigmoid, Tanh, Softplus, SiLU, softmax and what is made of comparisons
and arithmetic need no row: TensorFlow's own gradients convert.
"""

import math

import numpy as np
import tensorflow as tf

from keras_split.litert.lowering import operation

# TensorFlow's 1 / sqrt(2), which has float32's digits in every dtype.
_GELU = float(np.float32(math.sqrt(0.5)))

# Klambauer et al., arXiv 1706.02515: the scale, and the scale times alpha.
_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_ALPHA = 1.7580993408473768599402175208123


def relu(op: tf.Operation, y_grad: tf.Tensor) -> tf.Tensor:
    """The gradient of Relu."""
    return tf.where(op.outputs[0] > 0, y_grad, tf.zeros_like(y_grad))


def relu6(op: tf.Operation, y_grad: tf.Tensor) -> tf.Tensor:
    """The gradient of Relu6."""
    y = op.outputs[0]
    return tf.where((y > 0) & (y < 6), y_grad, tf.zeros_like(y_grad))


def leaky_relu(op: tf.Operation, y_grad: tf.Tensor) -> tf.Tensor:
    """The gradient of LeakyRelu."""
    slope = operation.attribute(op, "alpha")
    return tf.where(op.inputs[0] > 0, y_grad, y_grad * slope)


def elu(op: tf.Operation, y_grad: tf.Tensor) -> tf.Tensor:
    """The gradient of Elu: `exp(x)`, which is `y + 1`, below zero."""
    return y_grad * (tf.minimum(op.outputs[0], 0.0) + 1.0)


def selu(op: tf.Operation, y_grad: tf.Tensor) -> tf.Tensor:
    """The gradient of Selu; at 0 that of its upper half, as in TensorFlow."""
    y = op.outputs[0]
    scale = tf.constant(_SELU_SCALE, y.dtype)
    return y_grad * tf.where(y < 0, y + _SELU_ALPHA, scale)


def rsqrt(op: tf.Operation, y_grad: tf.Tensor) -> tf.Tensor:
    """The gradient of Rsqrt; of nothing, nothing, also at 0."""
    y = op.outputs[0]
    return _of_nothing(y_grad, y_grad * -0.5 * (y * y * y))


def sqrt(op: tf.Operation, y_grad: tf.Tensor) -> tf.Tensor:
    """The gradient of Sqrt; of nothing, nothing, also at 0."""
    return _of_nothing(y_grad, y_grad * 0.5 / op.outputs[0])


def softsign(op: tf.Operation, y_grad: tf.Tensor) -> tf.Tensor:
    """The gradient of Softsign."""
    return y_grad / tf.square(1.0 + tf.abs(op.inputs[0]))


def reciprocal(op: tf.Operation, y_grad: tf.Tensor) -> tf.Tensor:
    """The gradient of Reciprocal and Inv."""
    return -y_grad * tf.square(op.outputs[0])


def mul(
    op: tf.Operation, y_grad: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The gradient of Mul, for the sake of the exact GELU.

    `tf.nn.gelu` is `x / 2 * erfc(-x / sqrt(2))`. LiteRT has a builtin for all
    of it but none for Erfc, and the converter sees the builtin only when
    nothing else reads a factor. So the last of its products, which comes here
    first, answers for the whole: twice the slope of GELU to `x / 2`, which
    halves it, and nothing to Erfc.
    """
    x, factor = op.inputs
    features = _features_of_gelu(x, factor)
    if features is not None:
        return y_grad * 2.0 * _gelu_slope(features, op.outputs[0]), None
    return _sum_to(op, y_grad * factor, x), _sum_to(op, y_grad * x, factor)


def _features_of_gelu(x: tf.Tensor, factor: tf.Tensor) -> tf.Tensor | None:
    """What the exact GELU is of, if `x * factor` is its last product."""
    if (x.op.type, factor.op.type) != ("Mul", "Erfc"):
        return None
    (argument,) = factor.op.inputs
    features = x.op.inputs[1]
    if argument.op.type == "Mul" and argument.op.inputs[0].op.type == "Neg":
        if argument.op.inputs[0].op.inputs[0] is features:
            return features
    return None


def _gelu_slope(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """`P(x) + x * p(x)` with the normal distribution's P and density p.

    `y = x * P(x)` tells P, except near zero. There it is its tangent, whose
    error is below `x**3`.
    """
    density = tf.exp(-tf.square(x * _GELU)) * (_GELU / math.sqrt(math.pi))
    near = tf.abs(x) < 1e-6
    probability = tf.where(
        near, density * x + 0.5, y / tf.where(near, tf.ones_like(x), x)
    )
    return probability + x * density


def _of_nothing(y_grad: tf.Tensor, x_grad: tf.Tensor) -> tf.Tensor:
    """What TensorFlow does, where the product is 0 times infinity."""
    return tf.where(tf.equal(y_grad, 0.0), tf.zeros_like(x_grad), x_grad)


def _sum_to(op: tf.Operation, grad: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Sums `grad` over the axes along which `x` was broadcast."""
    shape = operation.shape_of(op, x)
    many = operation.shape_of(op, op.outputs[0])
    if many == shape:
        return grad
    padded = (1,) * (len(many) - len(shape)) + shape
    axes = [k for k, n in enumerate(many) if n != padded[k]]
    return tf.reshape(tf.reduce_sum(grad, axes), shape)
