"""Gradients that all phones of a cohort average before they apply them."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_split.models.half_vector import HalfVector
from keras_split.training.client_step import Step
from keras_split.training.client_step import multipliers_of

# Gets what the phone's step would change, and returns what all change.
Average = Callable[[Any], Any]


class AveragedGradients:
    """Commits steps with the average of all phones' gradients.

    The change of a step is one vector in the order of the half: gradients of
    weights, and changes of the statistics of batch normalization. Every phone
    of the cohort applies the same average with an optimizer in the same
    state, so all of them stay one.

    Args:
        client: A `keras_split.ClientModel`.
        half: Its variables.
        average: Says a phone's change and waits for the average.
    """

    def __init__(self, client: Any, half: HalfVector, average: Average) -> None:
        self._client = client
        self._half = half
        self._average = average
        self._applied = tf.function(self._apply, autograph=False)
        if client.run_eagerly:
            self._applied = self._apply

    def commit(self, step: Step, model: Any) -> None:
        """Commits a step in the middle of its graph; see `Step.commit`."""
        known = {id(variable) for variable in self._half.variables}
        trained = model.trainable_variables
        own = [
            (gradient, variable)
            for gradient, variable in zip(step.gradients, trained, strict=True)
            if gradient is not None and id(variable) not in known
        ]
        (average,) = model._half.calls(
            lambda vector: [self._average(vector)],
            [self._change(step, model)],
            [tf.float32],
            [step.ready],
        )
        average.set_shape((self._half.weights,))
        with tf.control_dependencies([average]):
            for variable, value in step.updates:
                if id(variable) not in known:
                    variable.assign(value)
            self._apply(average, own)

    def listen(self) -> None:
        """Takes part in a step with no examples: applies the others' change."""
        self._applied(self._average(None))

    def _change(self, step: Step, model: Any) -> tf.Tensor:
        found = {
            id(variable): gradient
            for variable, gradient in zip(
                model.trainable_variables, step.gradients, strict=True
            )
        }
        for variable, value in step.updates:
            found[id(variable)] = value - variable.value
        parts = []
        for variable in self._half.variables:
            part = found.get(id(variable))
            if part is None:
                part = tf.zeros(variable.shape)
            part = tf.convert_to_tensor(part)  # of rows of an embedding, too
            parts.append(tf.reshape(tf.cast(part, tf.float32), [-1]))
        return tf.concat(parts, 0)

    def _apply(
        self, average: tf.Tensor, own: list[tuple[tf.Tensor, Any]] | None = None
    ) -> None:
        model, variables = self._client, self._half.variables
        sizes = [tf.size(variable.value) for variable in variables]
        pairs = list(own or [])
        trained = {id(variable) for variable in model.trainable_variables}
        parts = tf.split(average, sizes)
        for variable, part in zip(variables, parts, strict=True):
            part = tf.cast(tf.reshape(part, variable.shape), variable.dtype)
            if id(variable) in trained:
                pairs.append((part, variable))
            else:
                variable.assign_add(part)
        rates = multipliers_of(model)
        with rates.applied(model.optimizer, model.head, model.tail):
            model.optimizer.apply_gradients(pairs)
