"""Keras' optimizers as pure functions of weights, slots and gradients."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_split.errors import ExportError
from keras_split.utils import keras_private

_KINDS = {
    kind.__name__: kind
    for kind in (
        keras.optimizers.SGD,
        keras.optimizers.Adam,
        keras.optimizers.AdamW,
    )
}


class Updated(NamedTuple):
    """New values of one weight and of its slots."""

    weight: tf.Tensor
    slots: list[tf.Tensor]


class Update:
    """The update rule of an optimizer, the same numbers as Keras'.

    Args:
        optimizer: A Keras `SGD`, `Adam` or `AdamW`.

    Attributes:
        slots: How many slots each weight has: none for SGD, one with
            momentum, two for Adam.

    Raises:
        ExportError: If it is another optimizer, or one that needs to see
            head and tail at once.
    """

    def __init__(self, optimizer: keras.Optimizer) -> None:
        kind = type(optimizer).__name__
        if _KINDS.get(kind) is not type(optimizer):
            raise ExportError(
                f"Expected one of Keras' {', '.join(_KINDS)}. "
                f"Received: {kind}. Pass client.export(..., optimizer="
                "keras.optimizers.SGD(0.01, momentum=0.9))."
            )
        for option in (
            "amsgrad",
            "global_clipnorm",
            "use_ema",
            "loss_scale_factor",
            "gradient_accumulation_steps",
        ):
            value = getattr(optimizer, option, None)
            if value:
                raise ExportError(
                    f"Expected {kind} without {option}, which would need "
                    "head and tail at once or more state. Received: "
                    f"{option}={value}. Leave it out; clipnorm and clipvalue "
                    "work weight by weight."
                )
        if callable(keras_private.rate_given(optimizer)):
            raise ExportError(
                "Expected a learning rate that is a number, for a phone gives "
                "its file one with each step. Received: a schedule. Pass "
                "client.export(..., optimizer=keras.optimizers.SGD(0.1)), and "
                "the schedule to the phone's fit(learning_rate=function)."
            )
        self._optimizer = optimizer
        self._adam = kind != "SGD"
        momentum = getattr(optimizer, "momentum", 0.0)
        self.slots = 2 if self._adam else int(momentum != 0)

    def __call__(
        self,
        variable: keras.Variable,
        weight: tf.Tensor,
        slots: Sequence[tf.Tensor],
        gradient: tf.Tensor | tf.IndexedSlices,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
    ) -> Updated:
        """One update of one weight.

        Args:
            variable: The Keras variable, for what belongs to it.
            weight: Its value.
            slots: Values of its slots, as many as `slots`.
            gradient: Gradient of the loss; of an Embedding its rows.
            learning_rate: Scalar, float32.
            step: Number of steps taken before this one, scalar, int32.
        """
        optimizer = self._optimizer
        # To Keras, a bound of 0 or less is none.
        norm, bound = optimizer.clipnorm or 0, optimizer.clipvalue or 0
        if bound > 0 and not norm > 0:
            gradient = tf.clip_by_value(gradient, -bound, bound)
        squares = _squares(gradient)
        gradient = tf.convert_to_tensor(gradient)
        if norm > 0:
            gradient = _clip_by_norm(gradient, squares, norm)
            squares = tf.square(gradient)
        decay = optimizer.weight_decay
        if decay is not None and keras_private.decays(optimizer, variable):
            weight = weight - weight * decay * learning_rate
        if self._adam:
            weight, new_slots = self._adam_step(
                weight, slots, gradient, squares, learning_rate, step
            )
        else:
            weight, new_slots = self._sgd_step(
                weight, slots, gradient, learning_rate
            )
        if variable.constraint is not None:
            weight = tf.convert_to_tensor(variable.constraint(weight))
        return Updated(weight, new_slots)

    def _sgd_step(
        self,
        weight: tf.Tensor,
        slots: Sequence[tf.Tensor],
        gradient: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        if not self.slots:
            return weight - gradient * learning_rate, []
        momentum = self._optimizer.momentum
        velocity = slots[0] * momentum - gradient * learning_rate
        move = velocity
        if self._optimizer.nesterov:
            move = velocity * momentum - gradient * learning_rate
        return weight + move, [velocity]

    def _adam_step(
        self,
        weight: tf.Tensor,
        slots: Sequence[tf.Tensor],
        gradient: tf.Tensor,
        squares: tf.Tensor,
        learning_rate: tf.Tensor,
        step: tf.Tensor,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        beta1, beta2 = self._optimizer.beta_1, self._optimizer.beta_2
        taken = tf.cast(step + 1, tf.float32)
        power1 = tf.pow(tf.constant(beta1, tf.float32), taken)
        power2 = tf.pow(tf.constant(beta2, tf.float32), taken)
        rate = learning_rate * tf.sqrt(1.0 - power2) / (1.0 - power1)
        first, second = slots
        first = first + (gradient - first) * (1.0 - beta1)
        second = second + (squares - second) * (1.0 - beta2)
        move = first * rate / (tf.sqrt(second) + self._optimizer.epsilon)
        return weight - move, [first, second]


def _squares(gradient: tf.Tensor | tf.IndexedSlices) -> tf.Tensor:
    """What Keras takes for the square of a gradient.

    Where an Embedding looks a row up more than once, Keras squares each of
    its gradients before it adds them up.
    """
    if isinstance(gradient, tf.IndexedSlices):
        return tf.convert_to_tensor(
            tf.IndexedSlices(
                tf.square(gradient.values),
                gradient.indices,
                gradient.dense_shape,
            )
        )
    return tf.square(gradient)


def _clip_by_norm(
    gradient: tf.Tensor, squares: tf.Tensor, bound: float
) -> tf.Tensor:
    norm = tf.sqrt(tf.reduce_sum(squares))
    return gradient * (bound / tf.maximum(norm, bound))
