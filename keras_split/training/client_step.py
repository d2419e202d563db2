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
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from keras_split.client.strategy import SplitStrategy
from keras_split.compression.cut_codec import CutCodec
from keras_split.compression.tensors import CutTensor
from keras_split.protocol.contract import Contract
from keras_split.protocol.validation import check_finite
from keras_split.protocol.validation import not_finite
from keras_split.training.fused_batchnorm import fused
from keras_split.training.graph_checks import total


class Step(NamedTuple):
    """What came out of a training step, before anything is committed.

    Attributes:
        outputs: The model's outputs, flat.
        loss: The loss to log, the body's penalty included.
        gradients: One for each trainable variable; None where none flows.
        updates: New values of statistics, seeds and metrics.
        ready: What a commit must wait for: the server has made its step, and
            gradients and updates are finite.
    """

    outputs: list[tf.Tensor]
    loss: tf.Tensor
    gradients: list[tf.Tensor | None]
    updates: list[tuple[Any, tf.Tensor]]
    ready: Any


class RemoteBody(Protocol):
    """The server, as the graph of a client's step sees it."""

    def ask_forward(self, parts: list[tf.Tensor]) -> list[tf.Tensor]:
        """Parts of the smashed data for the penalty, parts of the features."""

    def ask_backward(
        self, rate: tf.Tensor, loss: tf.Tensor, parts: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Parts of the features' gradients for those of the smashed data's.

        Args:
            rate: The learning rate.
            loss: A step whose loss is not finite is not taken.
            parts: Gradients of the features.
        """

    def settle(self, number: tf.Tensor, received: Sequence[tf.Tensor]) -> Any:
        """What a commit must wait for.

        Args:
            number: Finite if all is that would be committed.
            received: What the server answered.
        """


class ClientHalf:
    """Runs head and tail of a client model.

    Args:
        head: The head as a functional model.
        tail: The tail; None for a model that is cut once.
        contract: What they were cut with.
        skips: How many outputs of the head, behind the smashed data or among
            them, go to the tail: their positions in the head's outputs.
        strategy: Speaks with the server.
    """

    def __init__(
        self,
        head: keras.Model,
        tail: keras.Model | None,
        contract: Contract,
        skips: Sequence[int],
        strategy: Callable[[], SplitStrategy],
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
        self._strategy = strategy
        self._smashed = CutCodec(contract.smashed, rules.activations, leaves)
        self._features = CutCodec(contract.features, rules.activations, arrives)
        self._features_grad = CutCodec(
            contract.features, rules.gradients, arrives
        )
        self._smashed_grad = CutCodec(contract.smashed, rules.gradients, leaves)
        self.failure: Exception | None = None

    def infer(
        self, head_inputs: list[tf.Tensor], tail_inputs: list[tf.Tensor]
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The model's outputs in inference mode, and the body's penalty."""
        made = flat(self._head(head_inputs, training=False))
        penalty, *parts = self._callback(
            self._exchange_infer,
            self._smashed.quantize(made[: self._count]),
            [tf.float32, *self._features.part_dtypes],
        )
        penalty.set_shape(())
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
        counterpart: RemoteBody | None = None,
    ) -> Step:
        """One step of a model that is cut twice.

        Args:
            head_inputs: Inputs of the head.
            tail_inputs: Raw inputs that only the tail reads.
            model: Owns variables, metrics and optimizer.
            compute_loss: Loss of the model's outputs, the regularizers of
                head and tail included.
            counterpart: The server; by default the strategy is called in the
                middle of the graph.
        """
        assert self._tail is not None
        other = counterpart or self
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
        penalty, *parts = other.ask_forward(sent)
        penalty.set_shape(())
        features = self._features.dequantize(parts)
        crossed = self._features.positions(parts)

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
        parts = other.ask_backward(
            rate, loss, self._features_grad.quantize(features_grad, crossed)
        )
        smashed_grad = self._scaled(parts, sent, scale)
        head_grads = head_tape.gradient(
            [*smashed, *skips, *head_losses],
            values,
            output_gradients=[*smashed_grad, *grads[len(features) :]],
        )
        gradients = [
            _add(a, b)
            for a, b in zip(head_grads, found[len(edge) :], strict=True)
        ]
        logged = tf.cast(loss, tf.float32) + penalty
        updates = _updates(model, scope)
        ready = other.settle(step_total(model, gradients, updates), parts)
        return Step(outputs, logged, gradients, updates, ready)

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
        self._label_counts = (len(quantized), len(labels))
        loss, *parts = self._callback(
            self._exchange_labeled,
            [rate, *quantized, *labels, *weights],
            [
                tf.float32,
                *self._features.part_dtypes,
                *self._smashed_grad.part_dtypes,
            ],
        )
        loss.set_shape(())
        count = len(self._features.part_dtypes)
        outputs = self._features.dequantize(parts[:count])
        smashed_grad = self._scaled(parts[count:], quantized, scale)
        gradients = tape.gradient(
            [*smashed, penalty],
            values,
            output_gradients=[*smashed_grad, scale],
        )
        updates = _updates(model, scope)
        ready = self.settle(step_total(model, gradients, updates), parts)
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

    def ask_forward(self, parts: list[tf.Tensor]) -> list[tf.Tensor]:
        """See `RemoteBody`; here and below the strategy is called."""
        return self._callback(
            self._exchange_forward,
            parts,
            [tf.float32, *self._features.part_dtypes],
        )

    def ask_backward(
        self, rate: tf.Tensor, loss: tf.Tensor, parts: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """See `RemoteBody`."""
        return self._callback(
            self._exchange_backward,
            [rate, loss, *parts],
            self._smashed_grad.part_dtypes,
        )

    def settle(self, number: tf.Tensor, received: Sequence[tf.Tensor]) -> Any:
        """See `RemoteBody`."""
        with tf.control_dependencies(list(received)):
            return self._callback(self._settle, [number], [tf.float32])[0]

    # -- host callbacks ----------------------------------------------------

    def _callback(
        self,
        function: Callable[..., list[Any]],
        inputs: list[tf.Tensor],
        dtypes: list[tf.DType],
        after: Sequence[tf.Tensor] = (),
    ) -> list[tf.Tensor]:
        def call(*arrays: Any) -> list[Any]:
            try:
                return function(*arrays)
            except Exception as error:
                # TensorFlow turns it into an error of its own; the client
                # model raises this one instead.
                self.failure = error
                raise

        # Eagerly, a list of one comes back as its element.
        with tf.control_dependencies(list(after)):
            made: list[tf.Tensor] = flat(
                tf.numpy_function(call, inputs, dtypes)
            )
        return made

    def _exchange_infer(self, *parts: Any) -> list[Any]:
        features, penalty = self._strategy().infer(
            check_finite(self._smashed.wrap(parts))
        )
        return [np.float32(penalty), *self._features.unwrap(features)]

    def _exchange_forward(self, *parts: Any) -> list[Any]:
        features, penalty = self._strategy().forward(
            check_finite(self._smashed.wrap(parts))
        )
        return [np.float32(penalty), *self._features.unwrap(features)]

    def _exchange_backward(
        self, rate: Any, loss: Any, *parts: Any
    ) -> list[Any]:
        if not np.isfinite(loss):
            raise not_finite("loss")
        tensors = check_finite(self._features_grad.wrap(parts))
        grads = self._strategy().backward(tensors, float(rate))
        return self._smashed_grad.unwrap(grads)

    def _settle(self, number: Any) -> list[Any]:
        self._strategy().committed()
        if not np.isfinite(number):
            raise not_finite("step of the phone's half")
        return [number]

    def _exchange_labeled(self, rate: Any, *arrays: Any) -> list[Any]:
        parts, labels = self._label_counts
        smashed = check_finite(self._smashed.wrap(arrays[:parts]))
        reply = self._strategy().labeled_step(
            smashed,
            _plain("labels", arrays[parts : parts + labels]),
            _plain("sample_weights", arrays[parts + labels :]),
            float(rate),
        )
        if not np.isfinite(reply.loss):
            raise not_finite("loss")
        return [
            np.float32(reply.loss),
            *self._features.unwrap(reply.predictions),
            *self._smashed_grad.unwrap(reply.tensors),
        ]


# A functional model with one output returns it bare.
flat = keras.tree.flatten


def zeros_unless_finite(grad: tf.Tensor) -> tf.Tensor:
    """The gradient, or zeros for one with NaN or infinity."""
    finite = tf.reduce_all(tf.math.is_finite(grad))
    return tf.where(finite, grad, tf.zeros_like(grad))


def _plain(name: str, arrays: Sequence[Any]) -> list[CutTensor]:
    return [
        CutTensor(f"{name}_{i}", array.shape, array)
        for i, array in enumerate(map(np.asarray, arrays))
    ]


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
