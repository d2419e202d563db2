"""Additive noise."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.defenses.arguments import number
from keras_split.defenses.arguments import places
from keras_split.defenses.defense import Defense
from keras_split.defenses.defense import register
from keras_split.defenses.key import Key
from keras_split.defenses.key import coarse


@register("gaussian_noise")
class GaussianNoise(Defense):
    """Adds noise to every value that is sent.

    The noise is `stddev` times the largest magnitude in the example (cut to
    8 significant bits) times a number of `Key.normal`: nearly normal, and
    never beyond 5.19 standard deviations. The largest magnitude, and not a
    mean, because it is the same number whatever the order in which a runtime
    goes through an example. Gradients pass the noise as they are.

    It makes single values uncertain. What can still be reconstructed from
    them was not measured; it is no differential privacy, for nothing bounds
    how much one example may move a value.

    Args:
        stddev: Standard deviation, a part of the largest magnitude of each
            example. A step of int8 is about 0.004 of it.
        where: What it is added to: `"smashed"`, `"features_grad"` or both.

    Raises:
        DefenseError: If one of them is none of that.
    """

    def __init__(
        self, stddev: float, where: str | Sequence[str] = ("smashed",)
    ) -> None:
        self.where = places(where)
        unit = "times the largest magnitude of an example"
        self.stddev = number("stddev", stddev, 0, 1e3, unit, 0.1)

    def apply(self, x: tf.Tensor, key: Key, where: str) -> tf.Tensor:
        """`x` and noise."""
        shape = tuple(x.shape[1:])
        flat = tf.reshape(x, (-1, math.prod(shape)))
        peak = tf.reduce_max(tf.abs(flat), 1, keepdims=True)
        size = coarse(peak * np.float32(self.stddev))
        noise = key.normal(shape) * tf.reshape(size, (-1,) + (1,) * len(shape))
        return x + tf.stop_gradient(noise)

    def get_config(self) -> dict[str, Any]:
        """Both arguments."""
        return {"stddev": self.stddev, "where": list(self.where)}

    def __repr__(self) -> str:
        return f"GaussianNoise({self.stddev!r}, {self.where!r})"
