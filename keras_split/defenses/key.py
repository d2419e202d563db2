"""What a defense draws its random numbers from."""

import functools
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_split.defenses.random import LANE
from keras_split.defenses.random import along
from keras_split.defenses.random import lanes
from keras_split.defenses.random import of_step
from keras_split.defenses.random import rounds


class Key(NamedTuple):
    """Draws numbers that are a function of seed, step and example.

    The same key draws the same numbers each time, in every process and in
    the phone's file, see `keras_split.defenses.random.uniform`: so a forward
    that is repeated, and the `head_backward` that recomputes one, see what
    was sent. The numbers are no cryptography: who knows enough of them can
    work out the seed.

    Attributes:
        seed: A secret of the phone, and which tensor this is for.
        step: Number of the step, a scalar, an integer.
        samples: Number of each example in its batch, shape `(batch,)`,
            float32. Examples of one number get the same draws.
    """

    seed: str
    step: tf.Tensor
    samples: tf.Tensor

    def fold(self, name: str) -> "Key":
        """Another key; for a defense that draws more than once."""
        return self._replace(seed=f"{self.seed}/{name}")

    def uniform(self, shape: Sequence[int]) -> tf.Tensor:
        """Uniform numbers in [0, 1), multiples of 2**-24.

        Args:
            shape: Of one example, static.

        Returns:
            A float32 tensor of shape `(batch, *shape)`.
        """
        left, right = self._draw(shape)
        return tf.reshape((left * LANE + right) * 2.0**-24, (-1, *shape))

    def normal(self, shape: Sequence[int]) -> tf.Tensor:
        """Nearly normal numbers: mean 0, variance 1, at most 5.19.

        Each is the sum of two numbers out of a table of 4096 quantiles: a
        variance within 1e-5 of 1, a kurtosis of 2.995 instead of 3, and
        nothing beyond 5.19, where a normal distribution has 2e-7 left. All
        are multiples of 2**-12 and the sum is exact; a logarithm or a cosine
        would have other last bits in LiteRT than in TensorFlow.

        Args:
            shape: Of one example, static.

        Returns:
            A float32 tensor of shape `(batch, *shape)`. Times a number of 8
            significant bits it is exact as well, see `coarse`.
        """
        table = tf.constant(_quantiles())
        left, right = self._draw(shape)
        left = tf.gather(table, tf.cast(left, tf.int32))
        right = tf.gather(table, tf.cast(right, tf.int32))
        return tf.reshape(left + right, (-1, *shape))

    def _draw(self, shape: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
        """Two lanes of 12 bits for each value, `(batch, rows, columns)`."""
        keys = lanes(self.seed)
        columns = shape[-1] if shape else 1
        rows = math.prod(shape) // columns
        left, right = of_step(self.step, keys)
        # Two short axes, because a converter would store a long one.
        for index in (
            tf.reshape(self.samples, (-1, 1, 1)),
            tf.reshape(tf.range(float(rows), dtype=tf.float32), (1, -1, 1)),
            tf.reshape(tf.range(float(columns), dtype=tf.float32), (1, 1, -1)),
        ):
            left, right = along(left, right, index, keys)
        return rounds(left, right, keys[10:14])


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
    count = int(LANE)
    values = np.array([normal.inv_cdf((i + 0.5) / count) for i in range(count)])
    values *= math.sqrt(0.5) / values.std()
    found: np.ndarray = (np.rint(values * LANE) / LANE).astype(np.float32)
    return found
