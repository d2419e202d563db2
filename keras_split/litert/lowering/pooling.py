"""Maximum and average pools."""

import numpy as np
import tensorflow as tf

from keras_split.litert.lowering import operation
from keras_split.litert.lowering import windows
from keras_split.litert.lowering.windows import Axis


def max_pool(op: tf.Operation, y_grad: tf.Tensor) -> tf.Tensor:
    """The gradient of MaxPool: all of it to the first maximum of a window.

    Later ones get nothing, as in TensorFlow on a CPU. Whatever no earlier
    tap took belongs to the last one, which so needs no comparison.
    """
    x, y = op.inputs[0], op.outputs[0]
    sliding = windows.pool_windows(op, operation.image_shape(op, x))
    if sliding.pointwise:
        return y_grad
    *taps, _ = sliding.taps(x, x.dtype.min)
    rest = y_grad
    shares = []
    for tap in taps:
        share = rest * tf.cast(tf.equal(tap, y), rest.dtype)
        rest = rest - share
        shares.append(share)
    return sliding.scatter([*shares, rest])


def average_pool(op: tf.Operation, y_grad: tf.Tensor) -> tf.Tensor:
    """The gradient of AvgPool, whose windows do not count the padding."""
    x = op.inputs[0]
    sliding = windows.pool_windows(op, operation.image_shape(op, x))
    rows, columns = _pixels(sliding.rows), _pixels(sliding.columns)
    counts = rows[:, np.newaxis, np.newaxis] * columns[:, np.newaxis]
    if (counts == counts.max()).all():
        counts = counts.max()
    share = y_grad * tf.constant(1 / counts, y_grad.dtype)
    return sliding.scatter([share] * len(sliding.offsets))


def _pixels(axis: Axis) -> np.ndarray:
    """How many pixels of the image each window has."""
    starts = np.arange(axis.count) * axis.stride - axis.before
    first = np.maximum(starts, 0)
    behind = np.minimum(starts + axis.size, axis.length)
    return (behind - first).astype(np.float64)
