"""One training step of the body as one TensorFlow graph.

Forward, backward and update are one graph with a host callback in the
middle, which hands the features out and waits for their gradients. The graph
optimizer sees everything, so a split step costs what an unsplit one does; an
eager tape round a compiled forward was measured at 1.09 to 1.17 of it for
MobileNetV2 (docs/benchmarks.md).

Everything is computed before anything is assigned: a step that is abandoned,
or whose gradients are not finite, leaves no trace.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_split.crossing import Crossing


class Crossings(NamedTuple):
    """The four kinds of cut-layer tensors as the server sees them."""

    smashed: Crossing
    features: Crossing
    features_grad: Crossing
    smashed_grad: Crossing


class StepGraph:
    """The compiled step of a body under one optimizer.

    Args:
        body: The body as a functional model.
        crossings: Its cut-layer tensors.
        optimizer: Updates the weights.
        hand_over: The host callback. Takes the step's ticket, the penalty
            and the parts of the features; returns the loss scale and the
            parts of the features' gradients.
        judge: Computes the loss of a model that is cut once.
    """

    def __init__(
        self,
        body: keras.Model,
        crossings: Crossings,
        optimizer: keras.optimizers.Optimizer,
        hand_over: Callable[..., list[Any]],
        judge: keras.Model | None = None,
    ) -> None:
        self._body = body
        self._crossings = crossings
        self._optimizer = optimizer
        self._hand_over = hand_over
        self._judge = judge
        self._trained = list(body.trainable_variables)
        self._state = list(body.non_trainable_variables)
        self._half_precision = any(
            getattr(layer, "compute_dtype", "") == "float16"
            for layer in body._flatten_layers()
        )
        optimizer.build(self._trained)
        # A known batch size is worth 3 % of the step, so each gets a trace.
        self.run = tf.function(
            self._trace, reduce_retracing=True, autograph=False
        )
        self.run_forward = tf.function(
            self._trace_forward, reduce_retracing=True, autograph=False
        )
        self.run_labeled = tf.function(
            self._trace_labeled, reduce_retracing=True, autograph=False
        )

    def _trace(self, ticket: tf.Tensor, *parts: tf.Tensor) -> list[tf.Tensor]:
        """Smashed data in, gradients of the smashed data out; commits."""
        # One explicit read each: the backward pass uses the weights that
        # the forward pass saw, whatever other sessions commit in between.
        values = [tf.convert_to_tensor(v.value) for v in self._trained]
        smashed = self._crossings.smashed.dequantize(parts)
        with tf.GradientTape() as tape:
            tape.watch([*smashed, *values])
            features, state, penalty = self._forward(smashed, values)
        sent = self._crossings.features.quantize(features)
        scale, *back = tf.numpy_function(
            self._hand_over,
            [ticket, penalty, *sent],
            [tf.float32, *self._crossings.features_grad.part_dtypes],
        )
        scale.set_shape(())
        grads = [
            grad * tf.cast(scale, grad.dtype)
            for grad in self._crossings.features_grad.dequantize(
                back, self._crossings.features.positions(sent)
            )
        ]
        found = tape.gradient(
            [*features, penalty],
            [*smashed, *values],
            output_gradients=[*grads, scale],
        )
        return self._commit(parts, smashed, found, state, scale)

    def _trace_forward(self, *parts: tf.Tensor) -> list[tf.Tensor]:
        """Smashed data in, penalty and features out; commits nothing."""
        values = [tf.convert_to_tensor(v.value) for v in self._trained]
        smashed = self._crossings.smashed.dequantize(parts)
        features, _, penalty = self._forward(smashed, values)
        return [penalty, *self._crossings.features.quantize(features)]

    def _trace_labeled(
        self,
        parts: list[tf.Tensor],
        labels: list[tf.Tensor],
        weights: list[tf.Tensor],
        scale: tf.Tensor,
    ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
        """The step of a model that is cut once: the loss is computed here."""
        assert self._judge is not None
        values = [tf.convert_to_tensor(v.value) for v in self._trained]
        smashed = self._crossings.smashed.dequantize(parts)
        with tf.GradientTape() as tape:
            tape.watch([*smashed, *values])
            features, state, penalty = self._forward(smashed, values)
            with keras.StatelessScope():
                loss = self._judge.compute_loss(
                    y=_bare(labels),
                    y_pred=_bare(features),
                    sample_weight=_bare(weights),
                )
            objective = tf.cast(loss, tf.float32) + penalty
        found = tape.gradient(
            objective, [*smashed, *values], output_gradients=scale
        )
        out = self._crossings.features.quantize(features)
        return objective, out, self._commit(parts, smashed, found, state, scale)

    def _forward(
        self, smashed: list[tf.Tensor], values: list[tf.Tensor]
    ) -> tuple[list[tf.Tensor], list[tuple[Any, tf.Tensor]], tf.Tensor]:
        """The body in training mode, as a pure function.

        Returns:
            Features, new values of state variables, and the penalty.
        """
        before = [tf.convert_to_tensor(v.value) for v in self._state]
        features, after, losses = self._body.stateless_call(
            values, before, smashed, training=True, return_losses=True
        )
        state = [
            (variable, new)
            for variable, old, new in zip(
                self._state, before, after, strict=True
            )
            if new is not old
        ]
        penalty = tf.add_n([tf.cast(x, tf.float32) for x in losses] or [0.0])
        return keras.tree.flatten(features), state, penalty

    def _commit(
        self,
        parts: Sequence[tf.Tensor],
        smashed: list[tf.Tensor],
        found: list[tf.Tensor | None],
        state: list[tuple[Any, tf.Tensor]],
        scale: tf.Tensor,
    ) -> list[tf.Tensor]:
        """Updates weights and state; returns the smashed data's gradients.

        Args:
            parts: Of the smashed data.
            smashed: The smashed data.
            found: Gradients of the smashed data, then of the weights.
            state: State variables and their new values.
            scale: The factor that is in the gradients, and that a
                `LossScaleOptimizer` takes out again.
        """
        smashed_grad = []
        for tensor, grad in zip(smashed, found[: len(smashed)], strict=True):
            grad = tf.zeros_like(tensor) if grad is None else grad
            grad = tf.cast(grad, tf.float32) / scale
            if self._half_precision:
                # An overflow makes the body's LossScaleOptimizer skip the
                # step; the phone gets zeros instead of infinities.
                finite = tf.reduce_all(tf.math.is_finite(grad))
                grad = tf.where(finite, grad, tf.zeros_like(grad))
            smashed_grad.append(grad)
        pairs = [
            (grad, variable)
            for grad, variable in zip(
                found[len(smashed) :], self._trained, strict=True
            )
            if grad is not None
        ]
        # Everything below waits for the callback: the scale came from it.
        ready = [scale]
        if not isinstance(self._optimizer, keras.optimizers.LossScaleOptimizer):
            new = [grad for grad, _ in pairs] + [value for _, value in state]
            number = total([*smashed_grad, *new])
            finite = tf.math.is_finite(number)
            ready.append(tf.debugging.Assert(finite, [number]))
        with tf.control_dependencies(ready):
            if pairs:
                self._optimizer.apply_gradients(pairs)
            for variable, value in state:
                variable.assign(value)
        return self._crossings.smashed_grad.quantize(
            smashed_grad, self._crossings.smashed.positions(parts)
        )


def total(tensors: Iterable[Any]) -> tf.Tensor:
    """A number that is finite only if every float in `tensors` is."""
    return tf.add_n(
        [
            tf.reduce_sum(tf.cast(getattr(t, "values", t), tf.float32))
            for t in tensors
            if t is not None and t.dtype.is_floating
        ]
        or [0.0]
    )


def _bare(values: list[tf.Tensor]) -> Any:
    if not values:
        return None
    return values[0] if len(values) == 1 else values
