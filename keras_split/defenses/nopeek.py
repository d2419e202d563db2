"""A head that learns to tell less of its inputs."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_split.defenses.arguments import number
from keras_split.defenses.defense import Defense
from keras_split.defenses.defense import register
from keras_split.defenses.distance_correlation import distance_correlation
from keras_split.defenses.key import Key
from keras_split.errors import DefenseError


@register("nopeek")
class NoPeek(Defense):
    """Adds the distance correlation of inputs and smashed data to the loss.

    Vepakomma et al., "NoPeek: Information leakage reduction to share
    activations in distributed deep learning" (2020): the loss of a training
    batch is

        loss + weight * dCor(inputs, smashed data)**2,

    dCor the sample distance correlation of the batch, see
    `keras_split.defenses.distance_correlation`, of all inputs of the head
    and all of its outputs that are sent, before other defenses. It is in the
    loss that is logged, from 0 to `weight` of it; not in that of `evaluate`.
    What is sent is not changed but by what the head learns, so a head that
    was not trained with it, or not yet, tells all that it did.

    It needs batches of several examples, and time and memory for all pairs of
    them; a batch of one example has none of it. The loss is of a whole batch:
    microbatches are refused, and so is a head without weights to train.

    It is no differential privacy, and what it takes from an attacker was
    published for attackers that did not know of it.

    Args:
        weight: What it is multiplied with.

    Raises:
        DefenseError: If it is none of that.
    """

    def __init__(self, weight: float) -> None:
        self.weight = number("weight", weight, 0, 1e3, "of the loss", 1.0)

    def apply(self, x: tf.Tensor, key: Key, where: str) -> tf.Tensor:
        """`x`: the head is what changes."""
        return x

    def penalty(
        self,
        inputs: Sequence[tf.Tensor],
        smashed: Sequence[tf.Tensor],
        count: Any,
    ) -> tf.Tensor:
        """The weighted distance correlation."""
        x = tf.stop_gradient(tf.concat([_flat(t) for t in inputs], axis=1))
        z = tf.concat([_flat(t) for t in smashed], axis=1)
        return self.weight * distance_correlation(x, z, count)

    def get_config(self) -> dict[str, Any]:
        """The one argument."""
        return {"weight": self.weight}


def _flat(x: tf.Tensor) -> tf.Tensor:
    shape = x.shape[1:]
    numbers = x.dtype.is_floating or x.dtype.is_integer or x.dtype.is_bool
    if not numbers or not shape.is_fully_defined():
        raise DefenseError(
            "Expected inputs and smashed data that are numbers, as many in "
            f"each example, for nopeek. Received: {x.dtype.name} of shape "
            f"{x.shape}. Make their size a fixed one, or leave it out."
        )
    count = math.prod(shape.as_list())
    return tf.reshape(tf.cast(x, tf.float32), (-1, count))
