"""Integer codes with a scale and a zero point, in TensorFlow operations.

What `formats.Integer` computes on tensors; see `quantize` for the formula and
for the habits that keep it the same in every runtime.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_split.compression.rules import Rule
from keras_split.compression.scales import MIN_SCALE
from keras_split.compression.scales import axis_of
from keras_split.compression.scales import channels
from keras_split.compression.scales import grouped
from keras_split.compression.scales import visible


class Steps(NamedTuple):
    """Unpacked integer codes, still float32, beside what they stand for.

    `codes` has shape `(batch, elements)`, or `(positions, channels)` with a
    scale per channel; `scale` and `zero_point` broadcast against it.
    """

    codes: tf.Tensor
    scale: tf.Tensor
    zero_point: tf.Tensor


def to_steps(flat: tf.Tensor, shape: Sequence[int], rule: Rule) -> Steps:
    """Integer codes of a float32 `(batch, elements)`, before packing."""
    levels = 2.0**rule.bits - 1
    axis = axis_of(rule)
    x = grouped(flat, rule, shape)
    lo = tf.minimum(tf.reduce_min(x, axis, keepdims=True), 0.0)
    hi = tf.maximum(tf.reduce_max(x, axis, keepdims=True), 0.0)
    scale = (hi - lo) * np.float32(1 / levels)
    scale = tf.where(scale < MIN_SCALE, MIN_SCALE, scale)
    scale = visible(scale, x, axis)
    # abs and not minus, which would turn an all-positive group's 0.0 to -0.0.
    zero_point = tf.round(tf.abs(lo) / scale)
    steps = x / scale
    if rule.rounding == "nearest":
        # `lo` rounds to 0 because rounding is symmetric, so only the top can
        # stick out: both ends may round up.
        codes = tf.minimum(tf.round(steps) + zero_point, levels)
    else:
        positions = math.prod(shape) // channels(shape)
        steps = tf.reshape(steps, (-1, positions, channels(shape)))
        codes = tf.floor(steps + _dither(steps))
        codes = tf.reshape(codes, (-1, x.shape[1]))
        codes = tf.clip_by_value(codes + zero_point, 0.0, levels)
    return Steps(codes, scale, zero_point)


def from_steps(steps: Steps) -> tf.Tensor:
    """The inverse of `to_steps`, up to the rounding."""
    return (steps.codes - steps.zero_point) * steps.scale


def _dither(steps: tf.Tensor) -> tf.Tensor:
    """Numbers in (0, 1) that turn `floor` into stochastic rounding.

    Both parties and the phone must draw the same numbers, so there is no
    random state: element `i` of an example gets `frac(i * phi + offset)` with
    the golden ratio `phi`. This Kronecker sequence fills the unit interval
    more evenly than random numbers do (its discrepancy falls as log(n) / n;
    Niederreiter, "Random Number Generation and Quasi-Monte Carlo Methods",
    1992, chapter 3), so the rounding errors of an example nearly cancel. The
    offset is a hash of up to 1024 of the example's own values, so another
    example or another step is dithered differently.

    All values are multiples of 2**-16 and every sum below is exact, whatever
    its order. `steps + dither` cannot round up to the next integer either:
    it stays below 2**8 and there float32 resolves 2**-16.

    Args:
        steps: Values divided by their scale, shape `(batch, rows, columns)`.

    Returns:
        The dither, same shape.
    """
    rows, columns = steps.shape[1:]
    flat = tf.reshape(steps, (-1, rows * columns))
    # A stride that shares no factor with the columns visits all of them.
    stride = -(-rows * columns // 1024)
    while math.gcd(stride, columns) > 1:
        stride += 1
    # At most 1024 integers of at most 16 * 255: below 2**22.
    digest = tf.reduce_sum(tf.floor(16.0 * flat[:, ::stride]), 1)
    # Fractional bits of a product with an odd number near 1024 * phi: the
    # low 10 bits of the digest, shuffled.
    offset = _fraction(633.0 * _fraction(digest * 2.0**-10))
    # Two short tables and not one of `rows * columns` entries, which a
    # converter would store in the phone's file. `_fraction` between the two
    # additions keeps it from adding the tables up by itself.
    by_row = _fraction(
        tf.reshape(offset, (-1, 1, 1)) + _golden(rows, columns)[:, np.newaxis]
    )
    return _fraction(by_row + (_golden(columns, 1) + np.float32(2.0**-16)))


def _golden(count: int, step: int) -> np.ndarray:
    """`frac(i * step * phi)` for `count` values of i, multiples of 2**-15."""
    phi = (math.sqrt(5) - 1) / 2
    fractions: np.ndarray = np.arange(count) * step * phi % 1.0
    fractions = np.floor(fractions * 2**15) / 2**15
    return fractions.astype(np.float32)


def _fraction(x: tf.Tensor) -> tf.Tensor:
    return x - tf.floor(x)
