"""The phone's half: head and tail as one graph round two exchanges.

One training step is one graph: head forward, the exchange of smashed data
for features, tail forward and backward, the exchange of gradients, head
backward. The exchanges are host callbacks. Variables are read at the start
and assigned at the end, so a step whose server fails leaves no trace.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_split.compression.cut_codec import CutCodec
from keras_split.protocol.contract import Contract
from keras_split.training.crossed_step import CrossedStep
from keras_split.training.exchange import Exchange
from keras_split.training.exchanges import Exchanges
from keras_split.training.fused_batchnorm import fused
from keras_split.training.graph_checks import total
from keras_split.training.host_calls import HostCalls
from keras_split.training.remote_body import RemoteBody
from keras_split.training.step_graph import CutCodecs


class Step(NamedTuple):
    """What came out of a training step, before anything is committed.

    Attributes:
        outputs: The model's outputs, flat.
        loss: The loss to log, the body's penalty included.
        gradients: One for each trainable variable; None where none flows.
        updates: New values of statistics, seeds and metrics.
        ready: What a commit must wait for: the server has made its step, and
            gradients and updates are finite.
        crossed: What crossed the cut, where that is one forward and one
            backward.
    """

    outputs: list[tf.Tensor]
    loss: tf.Tensor
    gradients: list[tf.Tensor | None]
    updates: list[tuple[Any, tf.Tensor]]
    ready: Any
    crossed: CrossedStep | None = None


class ClientHalf:
    """Runs head and tail of a client model.

    Args:
        head: The head as a functional model.
        tail: The tail; None for a model that is cut once.
        contract: What they were cut with.
        skips: How many outputs of the head, behind the smashed data or among
            them, go to the tail: their positions in the head's outputs.
        strategy: Gives what speaks with the server, for each message anew.

    Attributes:
        cut_codecs: The tensors that cross.
    """

    def __init__(
        self,
        head: keras.Model,
        tail: keras.Model | None,
        contract: Contract,
        skips: Sequence[int],
        strategy: Callable[[], Exchange],
    ) -> None:
        rules = contract.quantization
        count = len(contract.smashed)
        leaves = [t.dtype for t in head.outputs[:count]]
        arrives = (
            [t.dtype for t in tail.inputs[: len(contract.features)]]
            if tail is not None
            else None
        )
        if tail is not None:
            # Masks come with the skips, as they do in the whole model.
            tail.supports_masking = True
        self._head = head
        self._tail = tail
        self._skips = list(skips)
        self._count = count
        self._fused = contract.fused_batchnorm
        self._smashed = CutCodec(contract.smashed, rules.activations, leaves)
        self._features = CutCodec(contract.features, rules.activations, arrives)
        self._features_grad = CutCodec(
            contract.features, rules.gradients, arrives
        )
        self._smashed_grad = CutCodec(contract.smashed, rules.gradients, leaves)
        self.cut_codecs = CutCodecs(
            self._smashed,
            self._features,
            self._features_grad,
            self._smashed_grad,
        )
        self._exchanges = Exchanges(self.cut_codecs, strategy)

    @property
    def calls(self) -> HostCalls:
        """Calls Python in the middle of its graphs."""
        return self._exchanges.calls

    def infer(
        self, head_inputs: list[tf.Tensor], tail_inputs: list[tf.Tensor]
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The model's outputs in inference mode, and the body's penalty."""
        made = flat(self._head(head_inputs, training=False))
        sent = self._smashed.quantize(made[: self._count])
        penalty, *parts = self._exchanges.infer(sent)
        features = self._features.dequantize(parts)
        if self._tail is None:
            return features, penalty
        skips = [made[i] for i in self._skips]
        inputs = [*features, *skips, *tail_inputs]
        return flat(self._tail(inputs, training=False)), penalty

    def train(
        self,
        head_inputs: list[tf.Tensor],
        tail_inputs: list[tf.Tensor],
        model: keras.Model,
        compute_loss: Callable[[list[tf.Tensor]], tf.Tensor],
        body: RemoteBody | None = None,
    ) -> Step:
        """One step of a model that is cut twice.

        Args:
            head_inputs: Inputs of the head.
            tail_inputs: Raw inputs that only the tail reads.
            model: Owns variables, metrics and optimizer.
            compute_loss: Loss of the model's outputs, the regularizers of
                head and tail included.
            body: Where the body is; by default the strategy is called in the
                middle of the graph.
        """
        assert self._tail is not None
        trained = model.trainable_variables
        values = [tf.convert_to_tensor(v.value) for v in trained]
        scope = keras.StatelessScope(
            list(zip(trained, values, strict=True)), collect_losses=True
        )
        with tf.GradientTape() as head_tape:
            head_tape.watch(values)
            with scope:
                made = self._run(self._head, head_inputs)
        smashed = made[: self._count]
        skips = [made[i] for i in self._skips]
        head_losses = list(scope.losses)
        sent = self._smashed.quantize(smashed)
        forward = (body or self._exchanges).forward(sent)
        features = self._features.dequantize(forward.parts)
        positions = self._features.positions(forward.parts)

        with tf.GradientTape() as tail_tape:
            edge = [*features, *skips, *head_losses]
            tail_tape.watch([*edge, *values])
            with scope:
                inputs = [*features, *skips, *tail_inputs]
                outputs = self._run(self._tail, inputs)
                loss = compute_loss(outputs)
            scaled = model.optimizer.scale_loss(loss)
        scale = tf.cast(model.optimizer.scale_loss(tf.ones(())), tf.float32)
        found = tail_tape.gradient(scaled, [*edge, *values])
        grads = [
            tf.zeros_like(t) if g is None else g
            for t, g in zip(edge, found[: len(edge)], strict=True)
        ]
        features_grad = [
            tf.cast(g, tf.float32) / scale for g in grads[: len(features)]
        ]
        if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
            # It skips a step that overflows; the server gets zeros for it.
            features_grad = [zeros_unless_finite(g) for g in features_grad]
        rate = tf.cast(model.optimizer.learning_rate, tf.float32)
        grad_parts = self._features_grad.quantize(features_grad, positions)
        backward = forward.backward(rate, loss, grad_parts)
        smashed_grad = self._scaled(backward.parts, sent, scale)
        head_grads = head_tape.gradient(
            [*smashed, *skips, *head_losses],
            values,
            output_gradients=[*smashed_grad, *grads[len(features) :]],
        )
        gradients = [
            _add(a, b)
            for a, b in zip(head_grads, found[len(edge) :], strict=True)
        ]
        logged = tf.cast(loss, tf.float32) + forward.penalty
        updates = _updates(model, scope)
        ready = backward.commit(step_total(model, gradients, updates))
        crossed = CrossedStep(
            *(sent, forward.penalty, forward.parts),
            *(rate, grad_parts, backward.parts),
        )
        return Step(outputs, logged, gradients, updates, ready, crossed)

    def train_labeled(
        self,
        head_inputs: list[tf.Tensor],
        model: keras.Model,
        labels: list[tf.Tensor],
        sample_weights: list[tf.Tensor],
    ) -> Step:
        """One step of a model that is cut once: the server has the loss."""
        trained = model.trainable_variables
        values = [tf.convert_to_tensor(v.value) for v in trained]
        scope = keras.StatelessScope(
            list(zip(trained, values, strict=True)), collect_losses=True
        )
        with tf.GradientTape() as tape:
            tape.watch(values)
            with scope:
                smashed = self._run(self._head, head_inputs)
                penalty = tf.add_n(
                    [tf.cast(x, tf.float32) for x in model.losses] or [0.0]
                )
        scale = tf.cast(model.optimizer.scale_loss(tf.ones(())), tf.float32)
        rate = tf.cast(model.optimizer.learning_rate, tf.float32)
        weights = [tf.cast(w, tf.float32) for w in sample_weights]
        quantized = self._smashed.quantize(smashed)
        loss, predictions, backward = self._exchanges.labeled_step(
            rate, quantized, labels, weights
        )
        outputs = self._features.dequantize(predictions)
        smashed_grad = self._scaled(backward.parts, quantized, scale)
        gradients = tape.gradient(
            [*smashed, penalty],
            values,
            output_gradients=[*smashed_grad, scale],
        )
        updates = _updates(model, scope)
        ready = backward.commit(step_total(model, gradients, updates))
        return Step(outputs, loss + penalty, gradients, updates, ready)

    def _run(
        self, model: keras.Model, inputs: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Head or tail in training mode."""
        with fused(model, self._fused):
            made: list[tf.Tensor] = flat(model(inputs, training=True))
        return made

    def _scaled(
        self,
        parts: Sequence[tf.Tensor],
        sent: Sequence[tf.Tensor],
        scale: tf.Tensor,
    ) -> list[tf.Tensor]:
        """Gradients of the smashed data, from their parts and from its own."""
        crossed = self._smashed.positions(sent)
        return [
            grad * tf.cast(scale, grad.dtype)
            for grad in self._smashed_grad.dequantize(parts, crossed)
        ]


# A functional model with one output returns it bare.
flat = keras.tree.flatten


def zeros_unless_finite(grad: tf.Tensor) -> tf.Tensor:
    """The gradient, or zeros for one with NaN or infinity."""
    finite = tf.reduce_all(tf.math.is_finite(grad))
    return tf.where(finite, grad, tf.zeros_like(grad))


def _updates(
    model: keras.Model, scope: keras.StatelessScope
) -> list[tuple[Any, tf.Tensor]]:
    """Statistics, seeds and metrics that the step would change."""
    variables = model.non_trainable_variables + model.metrics_variables
    pairs = [(v, scope.get_current_value(v)) for v in variables]
    return [(v, value) for v, value in pairs if value is not None]


def step_total(
    model: keras.Model,
    gradients: list[tf.Tensor | None],
    updates: list[tuple[Any, tf.Tensor]],
) -> tf.Tensor:
    """A number that is finite if a step may be committed.

    A `LossScaleOptimizer` deals with gradients that are not finite by itself:
    it skips the step.
    """
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        return total([])
    return total([*gradients, *(value for _, value in updates)])


def _add(one: tf.Tensor | None, other: tf.Tensor | None) -> tf.Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
