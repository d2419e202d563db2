"""Clipping, and noise of whole numbers: what mechanisms have in common."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.defenses import norms
from keras_split.defenses.arguments import number
from keras_split.defenses.arguments import places
from keras_split.defenses.clip import size_of_mean
from keras_split.defenses.defense import Defense
from keras_split.defenses.key import Key
from keras_split.defenses.key import coarse

ROUNDINGS = 1 + 2.0**-20  # more than all of those of float32 in `apply`


class Mechanism(Defense):
    """Clips each example, rounds it to a grid and adds noise of whole numbers.

    A subclass says how it rounds and what it draws, and in `release` what
    that costs. Gradients of the smashed data are those of the clipping, and
    pass noise and rounding as they are.

    Args:
        limit: The largest norm of an example.
        where: `"smashed"`, `"features_grad"` or both.
        unit: In what the limit is measured, for errors.

    Attributes:
        order: Of the norm: 2, or 1 for a sum of magnitudes.

    Raises:
        DefenseError: If one of them is none of that.
    """

    order = 2

    def __init__(
        self, limit: float, where: str | Sequence[str], unit: str
    ) -> None:
        self.where = places(where)
        self.limit = number("limit", limit, 1e-6, 1e6, unit, 1.0)

    @property
    def steps(self) -> float:
        """Steps of the grid in `limit`."""
        raise NotImplementedError

    def rounded(self, magnitudes: tf.Tensor) -> tf.Tensor:
        """Whole numbers instead of others, none of them negative."""
        raise NotImplementedError

    def drawn(self, key: Key, shape: Sequence[int]) -> tf.Tensor:
        """Whole numbers of the noise, for examples of a shape."""
        raise NotImplementedError

    def apply(self, x: tf.Tensor, key: Key, where: str) -> tf.Tensor:
        """`x`, clipped, and noise."""
        size = size_of_mean(key, where)
        # Steps of the grid in 1; cut short, so that there are not too many.
        steps = coarse(tf.constant(np.float32(self.steps / self.limit)) * size)
        noise = self.drawn(key, tuple(x.shape[1:]))

        @tf.custom_gradient
        def noisy(x: tf.Tensor) -> Any:
            # Without `abs` between the clip's product and this one, a
            # converter makes one of the two, which has other last bits.
            whole = tf.sign(x) * self.rounded(tf.abs(x) * steps)
            return (whole + noise) * (1.0 / steps), lambda upstream: upstream

        clipped = norms.clipped(x, self.limit, self.order, size)
        made: tf.Tensor = noisy(clipped)
        return made
