"""What takes the place of some Keras layers while a half is traced.

Three kinds of layers compute otherwise on the phone, to the same numbers:

* a convolution runs as matrix products, because LiteRT is slow at CONV_2D
  with weights that change (`lowering.convolve`);
* BatchNormalization takes its statistics over the real examples of a batch
  that was filled up, and brings a gradient of its own, which is shorter;
* Dropout draws its mask from the number of the step, because LiteRT's own
  random numbers cannot be repeated, and from the seed that its layer has, which
  a server does not know if the half was born from a secret.

They are swapped through `convolution_op` and `call`, which Keras documents
for overriding, and only on layers that do not override them already.
"""

import contextlib
import itertools
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_split.defenses.random import uniform
from keras_split.errors import ExportError
from keras_split.litert import lowering
from keras_split.utils import keras_private


class Batch(NamedTuple):
    """What the layers must know of the batch at hand.

    Attributes:
        size: Number of rows of each tensor.
        count: How many of them are real examples, a scalar tensor, int32.
        step: Number of the step, a scalar tensor, int32.
        salt: Tells the dropout masks of one half from those of the other.
    """

    size: int
    count: tf.Tensor
    step: tf.Tensor
    salt: int = 0

    def real(self, rank: int) -> tf.Tensor:
        """1.0 for each real example, else 0.0: `(size, 1, ...)`."""
        rows = tf.cast(tf.range(self.size) < self.count, tf.float32)
        return tf.reshape(rows, (self.size,) + (1,) * (rank - 1))


def layer_overrides(
    model: keras.Model, batch: Batch
) -> contextlib.AbstractContextManager[None]:
    """Swaps the layers of a model, nested models included."""
    seeds = itertools.count(batch.salt)
    found: list[tuple[Any, str, Callable[..., Any]]] = []
    for layer in keras_private.flatten_layers(model):
        call = type(layer).call
        if call is keras.layers.BatchNormalization.call:
            found.append((layer, "call", _normalization(layer, batch)))
        elif call in _DROPOUTS:
            found.append((layer, "call", _dropout(layer, batch, seeds)))
        elif (
            isinstance(layer, keras.layers.Conv2D)
            and type(layer).convolution_op is _CONVOLUTION
        ):
            found.append((layer, "convolution_op", _convolution(layer)))
    return keras_private.overridden(found)


_CONVOLUTION = keras.layers.Conv2D.convolution_op
_SPATIAL_DROPOUT = keras.layers.SpatialDropout2D.call  # and 1D, and 3D
_DROPOUTS = (keras.layers.Dropout.call, _SPATIAL_DROPOUT)


def _convolution(layer: Any) -> Callable[..., tf.Tensor]:
    original = layer.convolution_op

    def convolution_op(inputs: tf.Tensor, kernel: Any) -> tf.Tensor:
        # Constant weights are what LiteRT is fast with. Groups Keras would
        # compile for itself, where no gradient of ours is found.
        ours = kernel.trainable or layer.groups > 1
        if layer.data_format != "channels_last" or not ours:
            return original(inputs, kernel)
        return lowering.convolve(
            inputs,
            tf.convert_to_tensor(kernel),
            layer.strides,
            layer.padding.upper(),
            layer.dilation_rate,
        )

    return convolution_op


def _normalization(layer: Any, batch: Batch) -> Callable[..., tf.Tensor]:
    original = layer.call

    def call(
        inputs: tf.Tensor, training: bool | None = None, mask: Any = None
    ) -> tf.Tensor:
        if not training or not layer.trainable:
            return original(inputs, training=training, mask=mask)
        if mask is not None or getattr(layer, "renorm", False):
            raise ExportError(
                "Expected BatchNormalization without a mask and without "
                f"renorm. Received: {layer.path!r}. Take LayerNormalization "
                "behind masked inputs, or pass renorm=False."
            )
        if inputs.shape[0] != batch.size:
            raise ExportError(
                "Expected BatchNormalization of one row for each of "
                f"{batch.size} examples. Received: {layer.path!r}, which gets "
                f"{inputs.shape[0]}. Keep other axes out of the batch: "
                "keras.layers.TimeDistributed does."
            )
        rank = len(inputs.shape)
        axis = layer.axis % rank
        channels = inputs.shape[axis]
        parameters = [1] * rank
        parameters[axis] = channels
        gamma = layer.gamma if layer.scale else tf.ones((channels,))
        beta = layer.beta if layer.center else tf.zeros((channels,))
        outputs, mean, variance = _normalize(
            inputs,
            tf.reshape(tf.convert_to_tensor(gamma), parameters),
            tf.reshape(tf.convert_to_tensor(beta), parameters),
            batch,
            axis,
            layer.epsilon,
        )
        for moving, new in (
            (layer.moving_mean, mean),
            (layer.moving_variance, variance),
        ):
            new = tf.reshape(tf.stop_gradient(new), (channels,))
            old = tf.convert_to_tensor(moving)
            moving.assign(old * layer.momentum + new * (1.0 - layer.momentum))
        return outputs

    return call


def _normalize(
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    batch: Batch,
    axis: int,
    epsilon: float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalizes over the real examples; also their mean and variance.

    Gradients are those of Ioffe and Szegedy (arXiv 1502.03167, section 3).
    All that depends on channel and example alone is multiplied first, so
    that few passes over a whole tensor are left.
    """
    rank = len(x.shape)
    places = [i for i in range(1, rank) if i != axis]
    everywhere = [0, *places]
    real = batch.real(rank)
    examples = tf.cast(batch.count, tf.float32)
    positions = 1
    for place in places:
        positions *= x.shape[place]

    def average(value: tf.Tensor) -> tf.Tensor:
        by_example = tf.reduce_mean(value, places, keepdims=True)
        return tf.reduce_sum(by_example * real, 0, keepdims=True) / examples

    @tf.custom_gradient
    def normalize(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> Any:
        mean = average(x)
        centered = x - mean
        variance = average(tf.square(centered))
        inverse = tf.math.rsqrt(variance + epsilon)
        scale = gamma * inverse

        def grad(dy: tf.Tensor, *_: Any) -> list[tf.Tensor]:
            dbeta = tf.reduce_sum(dy, everywhere, keepdims=True)
            dgamma = inverse * tf.reduce_sum(
                dy * centered, everywhere, keepdims=True
            )
            share = scale / (examples * float(positions))
            toward_mean = share * dbeta * real
            toward_variance = share * inverse * dgamma * real
            dx = dy * scale - centered * toward_variance - toward_mean
            return [dx, dgamma, dbeta]

        return (centered * scale + beta, mean, variance), grad

    made: tuple[tf.Tensor, tf.Tensor, tf.Tensor] = normalize(x, gamma, beta)
    return made


def _dropout(
    layer: Any, batch: Batch, seeds: Iterator[int]
) -> Callable[..., tf.Tensor]:
    own = _first(layer.seed_generator) if layer.rate > 0 else 0

    def call(inputs: tf.Tensor, training: bool | None = False) -> tf.Tensor:
        if not training or layer.rate == 0:
            return inputs
        given = layer.noise_shape or (None,) * len(inputs.shape)
        if type(layer).call is _SPATIAL_DROPOUT:
            given = keras_private.noise_shape(layer, inputs)
        shape = [
            int(own if size is None else size)
            for size, own in zip(given, inputs.shape, strict=True)
        ]
        kept = uniform(shape, f"{own}/{next(seeds)}", batch.step) >= layer.rate
        factor = 1.0 / (1.0 - layer.rate) if layer.rate < 1 else 0.0
        return inputs * (tf.cast(kept, inputs.dtype) * factor)

    return call


def _first(generator: keras.random.SeedGenerator) -> int:
    """What of a generator's state stays while it draws."""
    # Its value, whatever stands for it in the graph that is traced.
    with tf.init_scope(), keras.StatelessScope(initialize_variables=False):
        return int(keras.ops.convert_to_numpy(generator.state.value)[0])
