"""Which example this is, told by its inputs alone.

A batch does not say which of the phone's examples it has. What is drawn for
an example once and for all is drawn by its inputs, bit by bit: in another
epoch, order or batch, and in the phone's file, they are the same.
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_split.defenses.chacha import high_bits
from keras_split.errors import DefenseError

WORDS = 4  # of a likeness: a place in a stream of ChaCha
_BLOCK = 256  # keys that a row of halves is multiplied with


def likeness(inputs: Sequence[tf.Tensor], seed: str) -> tf.Tensor:
    """Four words that differ where inputs do.

    A tree of multilinear hashes modulo 2**32 (Carter and Wegman, "Universal
    classes of hash functions", 1979), four at a time. What they multiply has
    16 bits, so that a difference is divided by 2**15 at most, and one of them
    maps two rows onto the same word with a probability of 2**-17; four of
    them, on three or four levels, with 2**-66.

    Args:
        inputs: Numbers, shape `(batch, ...)`, static but for the batch.
        seed: A secret; whoever lacks it knows no two inputs of one likeness.

    Returns:
        Words, int32, shape `(batch, 4)`.

    Raises:
        DefenseError: If inputs are no numbers, or of unknown size.
    """
    words = tf.concat([_words(x) for x in inputs], axis=1)
    level = 0
    while True:
        halves = tf.concat(
            [tf.math.floormod(words, 1 << 16), high_bits(words, 16)], axis=1
        )
        count = int(halves.shape[1])
        rows = -(-count // _BLOCK)
        keys = _keys(f"{seed}/{level}", min(count, _BLOCK))
        if rows == 1:
            return _hashes(halves, keys)
        halves = tf.pad(halves, [[0, 0], [0, rows * _BLOCK - count]])
        halves = tf.reshape(halves, (-1, _BLOCK))
        words = tf.reshape(_hashes(halves, keys), (-1, rows * WORDS))
        level += 1


def _hashes(halves: tf.Tensor, keys: np.ndarray) -> tf.Tensor:
    """Four sums of products for each row, modulo 2**32."""
    sums = [
        tf.reduce_sum(halves * tf.constant(key), axis=1, keepdims=True)
        for key in keys
    ]
    return tf.concat(sums, axis=1)


def _keys(seed: str, count: int) -> np.ndarray:
    drawn = hashlib.shake_256(seed.encode()).digest(4 * WORDS * count)
    return np.frombuffer(drawn, "<i4").reshape(WORDS, count)


def _words(x: tf.Tensor) -> tf.Tensor:
    """The bits of each number, as those of an int32."""
    shape = x.shape[1:]
    numbers = x.dtype.is_floating or x.dtype.is_integer or x.dtype.is_bool
    if not numbers or not shape.is_fully_defined():
        raise DefenseError(
            "Expected inputs that are numbers, as many in each example, to "
            f"draw by them. Received: {x.dtype.name} of shape {x.shape}. Make "
            "their size a fixed one, or draw the labels before the training."
        )
    if x.dtype.is_floating:
        x = tf.bitcast(tf.cast(x, tf.float32), tf.int32)
    flat: tf.Tensor = tf.reshape(
        tf.cast(x, tf.int32), (-1, math.prod(shape.as_list()))
    )
    return flat
