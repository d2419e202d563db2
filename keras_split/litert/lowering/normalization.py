"""Batch normalization as one operation, from models of TensorFlow's layers.

Keras 3 normalizes with plain arithmetic, whose gradients convert.
"""

import tensorflow as tf

from keras_split.litert.lowering import operation


def fused_batch_norm(
    op: tf.Operation, y_grad: tf.Tensor, *ignored: tf.Tensor
) -> tuple[tf.Tensor | None, ...]:
    """The gradient of FusedBatchNormV3, in training and in inference.

    Like TensorFlow's, it ignores gradients of the statistics. It computes
    the mean and variance of a batch anew: LiteRT's builtin does not tell.
    """
    x, scale, _, mean, variance = op.inputs
    batch, height, width, _ = operation.image_shape(op, x)
    axes = (0, 1, 2)
    training = operation.attribute(op, "is_training")
    if training:
        mean = tf.reduce_mean(x, axes)
        variance = tf.reduce_mean(tf.square(x - mean), axes)
    factor = tf.math.rsqrt(variance + operation.attribute(op, "epsilon"))
    normal = (x - mean) * factor
    offset_grad = tf.reduce_sum(y_grad, axes)
    scale_grad = tf.reduce_sum(y_grad * normal, axes)
    x_grad = y_grad
    if training:
        count = float(batch * height * width)
        x_grad = y_grad - offset_grad / count - normal * (scale_grad / count)
    return x_grad * (scale * factor), scale_grad, offset_grad, None, None
