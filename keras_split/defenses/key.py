"""What a defense draws its random numbers from."""

import functools
import math
import statistics
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_split.defenses.chacha import WORDS
from keras_split.defenses.chacha import blocks
from keras_split.defenses.chacha import high_bits
from keras_split.defenses.chacha import key_of

_COUNT = 4096  # quantiles: 12 bits of a word choose one


class Key(NamedTuple):
    """Draws numbers that are a function of seed, step and example.

    The same key draws the same numbers each time, in every process and in
    the phone's file: so a forward that is repeated, and the `head_backward`
    that recomputes one, see what was sent. They come from ChaCha (see
    `keras_split.defenses.chacha`): no two examples, steps or seeds share any,
    and whoever knows some of them, but not the seed, can work out no others.

    Attributes:
        seed: A secret of the phone, and which tensor this is for.
        step: Number of the step, a scalar, an integer.
        samples: Number of each example in its batch, shape `(batch,)`,
            float32. Examples of one number get the same draws.
        size: Of how many examples the loss is the mean, a scalar, float32:
            gradients are divided by it. The rows of `samples` if it is None.
        count: How many of the rows are real, a scalar, float32; all of them
            if it is None. Those behind them fill the batch up.
        likeness: In place of step and number, what is drawn by: four words
            for each example, int32, shape `(batch, 4)`.
    """

    seed: str
    step: tf.Tensor
    samples: tf.Tensor
    size: Any = None
    count: Any = None
    likeness: Any = None

    def fold(self, name: str) -> "Key":
        """Another key; for a defense that draws more than once."""
        return self._replace(seed=f"{self.seed}/{name}")

    def words(self, count: int) -> tf.Tensor:
        """Random words, int32, shape `(batch, count)`."""
        columns = -(-count // WORDS)
        numbers = tf.reshape(tf.range(columns, dtype=tf.int32), (1, -1))
        if self.likeness is None:
            samples = tf.reshape(tf.cast(self.samples, tf.int32), (-1, 1))
            nonce = [numbers, tf.cast(self.step, tf.int32), samples, 0]
        else:
            samples, *nonce = tf.split(self.likeness, 4, axis=1)
            nonce = [numbers + samples, *nonce]
        each = tf.zeros_like(samples) + tf.zeros_like(numbers)
        rows = [tf.reshape(each + word, (-1,)) for word in nonce]
        made = blocks(key_of(self.seed), tf.stack(rows))
        return tf.reshape(made, (-1, columns * WORDS))[:, :count]

    def uniform(self, shape: Sequence[int]) -> tf.Tensor:
        """Uniform numbers in [0, 1), multiples of 2**-24.

        Args:
            shape: Of one example, static.

        Returns:
            A float32 tensor of shape `(batch, *shape)`.
        """
        words = high_bits(self.words(math.prod(shape)), 24)
        return tf.reshape(tf.cast(words, tf.float32) * 2.0**-24, (-1, *shape))

    def normal(self, shape: Sequence[int]) -> tf.Tensor:
        """Nearly normal numbers: mean 0, variance 1, at most 5.19.

        Each is the sum of two numbers out of a table of 4096 quantiles: a
        variance within 1e-5 of 1, a kurtosis of 2.995 instead of 3, and
        nothing beyond 5.19, where a normal distribution has 2e-7 left. All
        are multiples of 2**-12 and the sum is exact; a logarithm or a cosine
        would have other last bits in LiteRT than in TensorFlow. For noise
        whose distribution is known exactly, see
        `keras_split.defenses.lattice`.

        Args:
            shape: Of one example, static.

        Returns:
            A float32 tensor of shape `(batch, *shape)`. Times a number of 8
            significant bits it is exact as well, see `coarse`.
        """
        table = tf.constant(_quantiles())
        words = self.words(math.prod(shape))
        first = high_bits(words, 12)
        second = high_bits(words * _COUNT, 12)
        drawn = tf.gather(table, first) + tf.gather(table, second)
        return tf.reshape(drawn, (-1, *shape))


def coarse(x: tf.Tensor) -> tf.Tensor:
    """Positive float32 numbers, cut to 8 significant bits.

    A product of two short numbers is exact, and then it does not matter that
    one runtime rounds a product before it adds to it and another does not.
    Numbers below 2**-100 become 0, because some runtimes flush subnormals.

    Example:
    >>> coarse(tf.constant([1.001, 0.1])).numpy()
    array([1.        , 0.09960938], dtype=float32)
    """
    bits = tf.bitcast(x, tf.int32)
    cut = tf.bitcast(bits - tf.math.floormod(bits, 1 << 16), tf.float32)
    return tf.where(cut < 2.0**-100, 0.0, cut)


@functools.cache
def _quantiles() -> np.ndarray:
    """4096 quantiles of a normal distribution of variance 1/2."""
    normal = statistics.NormalDist()
    parts = [(i + 0.5) / _COUNT for i in range(_COUNT)]
    values = np.array([normal.inv_cdf(part) for part in parts])
    values *= math.sqrt(0.5) / values.std()
    found: np.ndarray = (np.rint(values * _COUNT) / _COUNT).astype(np.float32)
    return found
