"""What values share a scale: the groups of a rule, in TensorFlow operations.

A group is the whole tensor, an example or a channel. Everything here works on
a tensor that is arranged in rows, `(batch, values)`, or `(positions,
channels)` for a scale per channel, beside which scales broadcast.
"""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_split.compression.rules import Rule

# Groups that span less are as good as zero. It keeps the scale, and all that
# is computed with it, away from subnormals: some runtimes flush those.
MIN_SCALE = 2.0**-100
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_AXES = {"tensor": None, "example": 1, "channel": 0}


def axis_of(rule: Rule) -> int | None:
    """The axis along which values share a scale; None for both."""
    return _AXES[rule.granularity]


def channels(shape: Sequence[int]) -> int:
    """Length of the last axis of an example."""
    return shape[-1] if shape else 1


def grouped(flat: tf.Tensor, rule: Rule, shape: Sequence[int]) -> tf.Tensor:
    """`(batch, values)` arranged in rows for the groups of a rule."""
    if rule.granularity == "channel":
        return tf.reshape(flat, (-1, channels(shape)))
    return flat


def flat(grouped: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """The inverse of `grouped`."""
    return tf.reshape(grouped, (-1, math.prod(shape)))


def visible(scale: tf.Tensor, x: tf.Tensor, axis: int | None) -> tf.Tensor:
    """The scale, or NaN for a group in which something is not finite.

    LiteRT's minimum and maximum lose not-a-numbers; a sum does not.
    """
    total = tf.reduce_sum(x, axis, keepdims=True)
    return tf.where(tf.abs(total) <= _FLOAT32_MAX, scale, np.nan)


def joined(scale: tf.Tensor, zero_point: tf.Tensor) -> tf.Tensor:
    """Scales as they cross: `[scale, zero_point]` in each row."""
    return tf.concat(
        [tf.reshape(scale, (-1, 1)), tf.reshape(zero_point, (-1, 1))], axis=1
    )


def scale_of(scales: tf.Tensor, rule: Rule) -> tf.Tensor:
    """Scale alone, for formats whose zero point is zero.

    A slice and not half of `apart`: a LiteRT interpreter that keeps all
    tensors, as calibration does, trips over one that nobody reads.
    """
    scale = scales[:, :1]
    return (
        tf.reshape(scale, (1, -1)) if rule.granularity == "channel" else scale
    )


def apart(scales: tf.Tensor, rule: Rule) -> tuple[tf.Tensor, tf.Tensor]:
    """Scale and zero point, ready to be broadcast beside `grouped`."""
    scale, zero_point = tf.split(scales, 2, axis=1)
    if rule.granularity == "channel":
        return tf.reshape(scale, (1, -1)), tf.reshape(zero_point, (1, -1))
    return scale, zero_point
