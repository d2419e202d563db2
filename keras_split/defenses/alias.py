"""Draws from a table of probabilities that are known exactly."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_split.defenses.chacha import high_bits

SIZE = 4096  # entries: 12 bits of a word choose one
_PART = 1 << 52  # what one entry holds, of 2**64
_LOW = 1 << 32


class Alias(NamedTuple):
    """A distribution over 0 to 4095 whose probabilities are `n / 2**64`.

    Walker's alias method ("An Efficient Method for Generating Discrete Random
    Variables with General Distributions", 1977), in integers: a number of 12
    bits chooses an entry, and one of 52 bits whether it stands for itself or
    for another.

    Attributes:
        high: The highest 20 bits of the limit below which an entry stands
            for itself, int32.
        low: The others, less 2**31, int32.
        other: What it stands for else, int32.
    """

    high: np.ndarray
    low: np.ndarray
    other: np.ndarray

    @classmethod
    def of(cls, weights: Sequence[int]) -> "Alias":
        """The table of 4096 weights whose sum is 2**64."""
        left = list(weights)
        limits, other = [_PART] * SIZE, list(range(SIZE))
        short = [i for i in range(SIZE) if left[i] < _PART]
        long = [i for i in range(SIZE) if left[i] >= _PART]
        while short and long:
            poor, rich = short.pop(), long[-1]
            limits[poor], other[poor] = left[poor], rich
            left[rich] -= _PART - left[poor]
            if left[rich] < _PART:
                short.append(long.pop())
        return cls(
            np.array([limit // _LOW for limit in limits], np.int32),
            np.array([limit % _LOW - _LOW // 2 for limit in limits], np.int32),
            np.array(other, np.int32),
        )

    def draw(self, one: tf.Tensor, two: tf.Tensor) -> tf.Tensor:
        """A number from 0 to 4095 for each two random words, int32."""
        entry = high_bits(one, 12)
        rest = one - entry * (1 << 20)
        high = tf.gather(tf.constant(self.high), entry)
        low = tf.gather(tf.constant(self.low), entry)
        itself = (rest < high) | (tf.equal(rest, high) & (two < low))
        other = tf.gather(tf.constant(self.other), entry)
        return tf.where(itself, entry, other)
