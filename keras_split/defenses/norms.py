"""Norms that TensorFlow and the phone's file agree on in the last bit.

A sum of floats has other last bits in another order, and a square root other
ones in another runtime. So magnitudes are rounded up to integers of 12 bits,
whose squares float32 holds and whose sums int64 holds exactly; and a root is
8 bits long, found by comparing exact squares.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.defenses.key import coarse

_BITS = 11  # the largest magnitude becomes an integer of 2**11 to 2**12


def bound(x: tf.Tensor, order: int = 2) -> tf.Tensor:
    """The norm of each example, rounded up.

    Args:
        x: Finite floats, float32, shape `(batch, ...)`.
        order: 2 for the Euclidean norm, 1 for the sum of magnitudes.

    Returns:
        Float32, shape `(batch,)`: at least the norm less `2**-24` of it, and
        at most 1.6 % and `2**-11 * sqrt(values)` (order 1: `2**-11 * values`)
        times the largest magnitude above it. 0 for magnitudes below 2**-80.
    """
    flat = tf.abs(tf.reshape(x, (-1, math.prod(x.shape[1:]))))
    peak = tf.reduce_max(flat, 1, keepdims=True)
    unit = _power_of_two(peak) * 2.0**-_BITS
    whole = tf.math.ceil(flat / tf.maximum(unit, 2.0**-100))
    if order == 2:
        whole = tf.square(whole)
    total = tf.cast(tf.reduce_sum(tf.cast(whole, tf.int64), 1), tf.float32)
    norm = _next(coarse(total)) if order == 1 else root_up(total)
    return tf.where(peak[:, 0] < 2.0**-80, 0.0, norm * unit[:, 0])


def mean(norms: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The mean of the first `count` norms, rounded up; a scalar.

    Args:
        norms: What `bound` returned.
        count: How many are real, a float.
    """
    numbers = tf.range(tf.cast(tf.shape(norms)[0], tf.float32))
    real = tf.where(numbers < count, norms, 0.0)
    unit = _power_of_two(tf.reduce_max(real)) * 2.0**-_BITS
    whole = tf.math.ceil(real / tf.maximum(unit, 2.0**-100))
    total = tf.reduce_sum(tf.cast(whole, tf.int64))
    # Not a division by `count`: of a constant one, graphs make a product.
    each = 1.0 / tf.maximum(count, 1.0)
    return tf.cast(total, tf.float32) * unit * each


def root_up(x: tf.Tensor) -> tf.Tensor:
    """The smallest number of 8 bits whose square is not below `x`.

    Runtimes differ in the last bit of a square root, so its first 8 bits are
    no more than a guess; squares of 8 bits are exact, and tell.

    Args:
        x: Float32, from 1 to 2**120, or 0.
    """
    guess = coarse(tf.sqrt(x))
    # From one below the guess, which may be one too high, upwards.
    found = _next(guess, -1)
    for _ in range(3):
        found = tf.where(tf.square(found) < x, _next(found), found)
    return tf.where(x > 0, found, 0.0)


def factors(
    x: tf.Tensor, limit: float, order: int = 2, size: Any = 1.0
) -> tf.Tensor:
    """By what to multiply each example so that it is short enough.

    Args:
        x: Float32, shape `(batch, ...)`.
        limit: The largest norm of `size * x`.
        order: Of the norm.
        size: A whole number below 2**16 as a float.

    Returns:
        Float32, shape `(batch, 1, ...)`, at most 1, of 8 significant bits.
    """
    norm = bound(x, order) * size  # exact: 8 bits times 16
    cut = coarse(np.float32(limit) / tf.maximum(norm, 2.0**-80))
    found = tf.where(norm <= np.float32(limit), 1.0, cut)
    return tf.reshape(found, (-1,) + (1,) * (len(x.shape) - 1))


def clipped(
    x: tf.Tensor, limit: float, order: int = 2, size: Any = 1.0
) -> tf.Tensor:
    """Each example, made shorter where `size` times its norm is too much.

    The gradient is that of `x * limit / norm(x)`: what the other side wants
    of a direction that is cut off does not reach the head. A gradient that
    passed as it is would let the head's outputs grow on and on, since their
    length is never seen.

    Args:
        x: Float32, shape `(batch, ...)`.
        limit: As in `factors`.
        order: Of the norm.
        size: As in `factors`.
    """

    @tf.custom_gradient
    def clip(x: tf.Tensor) -> Any:
        by = factors(x, limit, order, size)

        def grad(upstream: tf.Tensor) -> tf.Tensor:
            return _grad_of_clip(x, by, upstream, order)

        return x * by, grad

    made: tf.Tensor = clip(x)
    return made


def _grad_of_clip(
    x: tf.Tensor, by: tf.Tensor, upstream: tf.Tensor, order: int
) -> tf.Tensor:
    """`by * (u - n <x, u> / norm(x))`, `n` the gradient of the norm."""
    axes: Sequence[int] = range(1, len(x.shape))
    along = tf.reduce_sum(x * upstream, axes, keepdims=True)
    if order == 2:
        square = tf.reduce_sum(tf.square(x), axes, keepdims=True)
        away = x * (along / tf.maximum(square, np.float32(2.0**-120)))
    else:
        total = tf.reduce_sum(tf.abs(x), axes, keepdims=True)
        away = tf.sign(x) * (along / tf.maximum(total, np.float32(2.0**-80)))
    return by * tf.where(by < 1, upstream - away, upstream)


def _power_of_two(x: tf.Tensor) -> tf.Tensor:
    """The largest power of two that is not above a positive number."""
    bits = tf.bitcast(x, tf.int32)
    return tf.bitcast(bits - tf.math.floormod(bits, 1 << 23), tf.float32)


def _next(x: tf.Tensor, count: int = 1) -> tf.Tensor:
    """The number of 8 bits that follows on one of 8 bits."""
    return tf.bitcast(tf.bitcast(x, tf.int32) + count * (1 << 16), tf.float32)
