"""A network that tells real tensors from made ones."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from keras_split.audit.decoder import as_map

_LARGEST = 128


def make_critic(shapes: Sequence[tuple[int, ...]], width: int) -> keras.Model:
    """A network from a list of tensors to one number each example.

    Without normalization, so that the gradient at an example is its own.

    Args:
        shapes: Of the tensors, without the batch.
        width: Channels of the first layer; they double with each.
    """
    inputs = [keras.Input(shape) for shape in shapes]
    seen = [_looked_at(x, width) for x in inputs]
    x = layers.Concatenate()(seen) if len(seen) > 1 else seen[0]
    return keras.Model(inputs, layers.Dense(1)(x), name="critic")


def gradient_penalty(
    critic: keras.Model,
    one: Sequence[tf.Tensor],
    other: Sequence[tf.Tensor],
    part: tf.Tensor,
) -> tf.Tensor:
    """`(|gradient of the critic| - 1)**2` between two batches, on average.

    Gulrajani et al., Improved Training of Wasserstein GANs, NeurIPS 2017,
    Eq. 3.

    Args:
        critic: Sees a list of tensors.
        one: A batch.
        other: Another one of its shapes.
        part: How much of `one` is taken, shape `(batch,)`, 0 to 1.
    """
    between = [
        tf.reshape(part, (-1, *[1] * (len(a.shape) - 1))) * (a - b) + b
        for a, b in zip(one, other, strict=True)
    ]
    with tf.GradientTape() as tape:
        tape.watch(between)
        judged = critic(between)
    slopes = tape.gradient(judged, between)
    squared = tf.add_n(
        [tf.reduce_sum(s**2, range(1, len(s.shape))) for s in slopes]
    )
    norm = tf.sqrt(squared + 1e-12)
    return tf.reduce_mean((norm - 1) ** 2)


def _looked_at(x: Any, width: int) -> Any:
    drawn = as_map(x)
    if drawn is None:
        x = layers.Flatten()(x)
        for _ in range(2):
            x = layers.LeakyReLU(0.2)(layers.Dense(4 * width)(x))
        return x
    x = drawn
    while max(x.shape[1:3]) > 4:
        x = layers.Conv2D(width, 3, 2, padding="same")(x)
        x = layers.LeakyReLU(0.2)(x)
        width = min(2 * width, _LARGEST)
    x = layers.Conv2D(width, 3, padding="same")(x) if x is drawn else x
    return layers.Flatten()(x)
