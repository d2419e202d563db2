"""Batch normalization in training as one operation.

Keras 3 writes it as a dozen, each of which reads or writes a whole activation.
TensorFlow has one that computes the same, `tf.raw_ops.FusedBatchNormV3`; with
it a training step on a CPU takes 0.76 of the time for MobileNetV2, 0.87 for
ResNet50 (docs/benchmarks.md). Numbers differ in their last bits, which is why
`keras_split.compile` leaves it out where cut-layer tensors cross as they are.
"""

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_split.utils import keras_private


@contextlib.contextmanager
def fused(model: keras.Model, wanted: bool = True) -> Iterator[None]:
    """Swaps batch normalization in the graphs that are traced within.

    Layers keep their weights and their configurations. Those with masks,
    `renorm`, `synchronized`, another axis than the last or a `call` of their
    own do what they always do.

    Args:
        model: Any; its nested models are included.
        wanted: False for nothing to happen.
    """
    layers = [
        layer
        for layer in (keras_private.flatten_layers(model) if wanted else ())
        if type(layer).call is keras.layers.BatchNormalization.call
        and not (layer.synchronized or layer.renorm)
        and layer.variable_dtype == "float32"
    ]
    calls = [(layer, "call", _fused_call(layer)) for layer in layers]
    with keras_private.overridden(calls):
        yield


def _fused_call(
    layer: keras.layers.BatchNormalization,
) -> Callable[..., tf.Tensor]:
    original = layer.call

    def call(
        inputs: tf.Tensor, training: bool | None = None, mask: Any = None
    ) -> tf.Tensor:
        last = layer.axis in (-1, len(inputs.shape) - 1)
        if not (training and layer.trainable and last and mask is None):
            return original(inputs, training=training, mask=mask)
        return _normalize(layer, inputs)

    return call


def _normalize(
    layer: keras.layers.BatchNormalization, inputs: tf.Tensor
) -> tf.Tensor:
    """Normalizes over the batch, and updates the moving statistics."""
    channels = inputs.shape[-1]
    x = tf.cast(inputs, tf.float32)
    if len(inputs.shape) != 4:
        x = tf.reshape(x, [-1, 1, 1, channels])
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=layer.gamma if layer.scale else tf.ones([channels]),
        offset=layer.beta if layer.center else tf.zeros([channels]),
        mean=tf.zeros([0]),
        variance=tf.zeros([0]),
        epsilon=layer.epsilon,
    )
    # For moving statistics TensorFlow divides by n - 1, Keras 3 by n.
    count = tf.cast(tf.size(x) // channels, tf.float32)
    variance *= (count - 1) / count
    for moving, new in (
        (layer.moving_mean, mean),
        (layer.moving_variance, variance),
    ):
        moving.assign(moving * layer.momentum + new * (1 - layer.momentum))
    if len(inputs.shape) != 4:
        outputs = tf.reshape(outputs, tf.shape(inputs))
        outputs.set_shape(inputs.shape)
    return tf.cast(outputs, layer.compute_dtype)
