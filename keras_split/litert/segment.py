"""Runs head or tail inside a graph that becomes part of the phone's file."""

from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_split.errors import ExportError
from keras_split.litert import silent
from keras_split.litert.layer_overrides import Batch
from keras_split.litert.layer_overrides import layer_overrides
from keras_split.litert.optimizers import Update
from keras_split.litert.state import Entry
from keras_split.litert.state import HalfState
from keras_split.utils import keras_private


class Run(NamedTuple):
    """A forward in training mode.

    Attributes:
        outputs: Outputs of the segment.
        penalty: Loss of its weight regularizers, a scalar.
        statistics: New values of `HalfState.statistics`.
    """

    outputs: list[tf.Tensor]
    penalty: tf.Tensor
    statistics: list[tf.Tensor]


class TracedSegment:
    """Head or tail with the state that it has on the phone.

    Args:
        name: `"head"` or `"tail"`.
        model: The segment.
        update: The optimizer's rule.
        others: Entries of the state of the other half.
    """

    def __init__(
        self,
        name: str,
        model: keras.Model,
        update: Update,
        others: Sequence[Entry] = (),
    ) -> None:
        self.name = name
        self.model = model
        self.state = HalfState(name, model, update.slots, others)
        self._update = update

    def infer(
        self, read: Sequence[tf.Tensor], inputs: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Outputs in inference mode."""
        size = _batch_size(inputs)
        batch = Batch(size, tf.constant(size), tf.constant(0))
        values = self.state.values(read)
        scope = keras.StatelessScope(values)
        with (
            scope,
            silent.watched(scope, [v for v, _ in values]),
            layer_overrides(self.model, batch),
        ):
            made: list[tf.Tensor] = _list(self.model(inputs, training=False))
        silent.check_rows(self.model, made, size)
        return made

    def train(
        self, read: Sequence[tf.Tensor], inputs: list[tf.Tensor], batch: Batch
    ) -> Run:
        """Outputs in training mode; nothing is assigned."""
        values = self.state.values(read)
        scope = keras.StatelessScope(values, collect_losses=True)
        moving = self.state.statistics
        with (
            scope,
            silent.watched(scope, [v for v, _ in values], moving),
            layer_overrides(self.model, batch),
        ):
            outputs = _list(self.model(inputs, training=True))
        silent.check_rows(self.model, outputs, batch.size)
        if scope.losses:
            raise ExportError(
                f"Expected layers without a loss of their own in the "
                f"{self.name}. Received: add_loss or an activity regularizer "
                f"in {_with_losses(self.model)}. Use weight regularizers."
            )
        penalty = tf.constant(0.0)
        for variable, value in zip(self.state.trained, read, strict=False):
            if variable.regularizer is not None:
                penalty += tf.cast(variable.regularizer(value), tf.float32)
        statistics = [
            tf.convert_to_tensor(scope.get_current_value(v))
            for v in self.state.statistics
        ]
        return Run(outputs, penalty, statistics)

    def updated(
        self,
        read: Sequence[tf.Tensor],
        run: Run,
        gradients: Sequence[tf.Tensor | tf.IndexedSlices | None],
        learning_rate: tf.Tensor,
        step: tf.Tensor,
    ) -> list[tf.Tensor]:
        """The new value of each entry of the state."""
        weights, slots = [], []
        for variable, weight, old_slots, gradient in zip(
            self.state.trained,
            read[: len(self.state.trained)],
            self.state.slots(read),
            gradients,
            strict=True,
        ):
            if gradient is None:  # as Keras does, which warns
                weights.append(weight)
                slots.extend(old_slots)
                continue
            new = self._update(
                variable, weight, old_slots, gradient, learning_rate, step
            )
            weights.append(new.weight)
            slots.extend(new.slots)
        return [*weights, *run.statistics, *slots]


def _batch_size(inputs: Sequence[tf.Tensor]) -> int:
    return int(inputs[0].shape[0]) if inputs else 1


def _with_losses(model: Any) -> str:
    names = [
        layer.name
        for layer in keras_private.flatten_layers(model)
        if getattr(layer, "activity_regularizer", None) is not None
    ]
    return ", ".join(map(repr, names)) or "a layer"


# A functional model with one output returns it bare.
_list = keras.tree.flatten
