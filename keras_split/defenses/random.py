"""Random numbers that a phone can repeat.

LiteRT's random operations count on from call to call, so the masks of a
forward could not be drawn again in its backward, and TensorFlow's stateless
ones do not convert. These are a function of a seed, a step and a position.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

LANE = 4096.0  # 12 bits: a product of two lanes is exact in float32
LANES = 14  # of a seed


def uniform(
    shape: Sequence[int], seed: int | str, step: tf.Tensor
) -> tf.Tensor:
    """Uniform numbers in [0, 1), multiples of 2**-24.

    A hash of seed, step and position, one axis after the other: a Feistel
    network of two 12-bit lanes (Luby and Rackoff, "How to Construct
    Pseudorandom Permutations from Pseudorandom Functions", 1988), whose round
    function takes the middle bits of a product. All of it is integer
    arithmetic below 2**24, which float32 holds exactly, so TensorFlow and
    LiteRT draw the same numbers on every machine.

    Args:
        shape: Shape of the result, static.
        seed: Tells one use of a step's numbers from another.
        step: Number of the step, a scalar, int32, below 2**24.

    Returns:
        A float32 tensor of that shape.

    Example:
    >>> uniform((4,), 0, tf.constant(7)).numpy().round(2)
    array([...], dtype=float32)
    """
    keys = lanes(seed)
    left, right = of_step(step, keys)
    rank = len(shape)
    left = tf.reshape(left, (1,) * rank)
    right = tf.reshape(right, (1,) * rank)
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        place = [1] * rank
        place[axis] = size
        index = tf.range(float(size), dtype=tf.float32)
        left, right = along(left, right, tf.reshape(index, place), keys)
    left, right = rounds(left, right, keys[10:14])
    whole = tf.broadcast_to(left * LANE + right, shape)
    return whole * 2.0**-24


def lanes(seed: object) -> list[float]:
    """What the rounds use of a seed: `LANES` integers of 12 bits."""
    digest = hashlib.sha256(str(seed).encode()).digest()
    numbers = np.frombuffer(digest, "<u2")[:LANES] % int(LANE)
    return [float(number) for number in numbers]


def of_step(
    step: tf.Tensor, keys: Sequence[float]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Both lanes of a step, from which all of its numbers come.

    Args:
        step: Scalar, an integer.
        keys: The lanes of a seed.
    """
    left, right = _halves(tf.cast(step, tf.float32))
    left, right = left + keys[0], mod(right + keys[1])
    return rounds(mod(left), right, keys[2:6])


def along(
    left: tf.Tensor, right: tf.Tensor, index: tf.Tensor, keys: Sequence[float]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Both lanes for each index of one more axis.

    Args:
        left: Lanes so far.
        right: The same.
        index: Integers as float32, below 2**24, to broadcast against them.
        keys: The lanes of a seed.
    """
    high, low = _halves(index)
    return rounds(mod(left + high), mod(right + low), keys[6:10])


def rounds(
    left: tf.Tensor, right: tf.Tensor, keys: Sequence[float]
) -> tuple[tf.Tensor, tf.Tensor]:
    """One round of the network for each key."""
    made: tuple[tf.Tensor, tf.Tensor] = _rounds(left, right, tf.constant(keys))
    return made


@tf.function(autograph=False)
def _rounds(
    left: tf.Tensor, right: tf.Tensor, keys: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """A function of its own: a draw calls it five times, each 70 operations.

    Traced once for all draws of a shape, it is one operation of their graphs;
    they were hundreds, which took most of the time of tracing a defended step.
    """
    for key in tf.unstack(keys):
        square = tf.square(mod(right + key))
        middle = mod(tf.floor(square * 2.0**-6))
        left, right = right, mod(left + middle)
    return left, right


def _halves(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The high and the low 12 bits of an integer below 2**24."""
    high = tf.floor(number / LANE)
    return high, number - high * LANE


def mod(number: tf.Tensor) -> tf.Tensor:
    """The remainder of an integer below 2**24 by 2**12."""
    return number - tf.floor(number * (1 / LANE)) * LANE
