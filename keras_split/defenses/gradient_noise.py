"""Noise on gradients, as loud as they are."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.defenses import norms
from keras_split.defenses.arguments import number
from keras_split.defenses.defense import Defense
from keras_split.defenses.defense import register
from keras_split.defenses.key import Key
from keras_split.defenses.key import coarse


@register("gradient_noise")
class GradientNoise(Defense):
    """Adds noise to the features' gradients, which tell the labels.

    The noise of an example is `sigma` times as long as the gradients of its
    batch are in the mean: each value gets a number of `Key.normal` times
    `sigma * mean(norms) / sqrt(values)`, that cut to 8 significant bits. All
    examples get the same, so a gradient's length is hidden among the others',
    and it follows the gradients as they become shorter during training.

    A batch that travels in microbatches has the mean of each of them. It is
    no differential privacy: the scale is taken from what it should hide. For
    that, see `GaussianMechanism`.

    Args:
        sigma: How much longer than the gradients are in the mean.

    Raises:
        DefenseError: If it is none of that.
    """

    where = ("features_grad",)
    mixes = True

    def __init__(self, sigma: float) -> None:
        unit = "times the mean norm of the batch's gradients"
        self.sigma = number("sigma", sigma, 0, 1e3, unit, 1.0)

    def apply(self, x: tf.Tensor, key: Key, where: str) -> tf.Tensor:
        """`x` and noise."""
        shape = tuple(x.shape[1:])
        found = norms.bound(x)
        count = tf.size(found, tf.int32) if key.count is None else key.count
        mean = norms.mean(found, tf.cast(count, tf.float32))
        each = self.sigma / math.sqrt(math.prod(shape))
        size = coarse(mean * np.float32(each))
        return x + key.normal(shape) * size

    def get_config(self) -> dict[str, Any]:
        """The one argument."""
        return {"sigma": self.sigma}
