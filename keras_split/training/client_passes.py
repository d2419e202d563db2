"""Head and tail, forward and backward: what every client step is made of."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_split.compression.cut import ClientCuts
from keras_split.defenses.chain import INFERENCE
from keras_split.defenses.chain import Moment
from keras_split.training import input_checks
from keras_split.training.fused_batchnorm import fused
from keras_split.training.state_scope import StateScope
from keras_split.training.state_scope import Updates

# A functional model with one output returns it bare.
flat = keras.tree.flatten


class HeadPass(NamedTuple):
    """What the head made of examples, and how to go back.

    Attributes:
        tape: Knows the way from the outputs to the weights.
        scope: Holds what the forward would change.
        smashed: Outputs that are sent, after the defenses.
        skips: Outputs that stay for the tail, before them.
        losses: Of its activations and of defenses, or with its weights' the
            penalty.
        sent: Parts of `smashed`, and of the inputs that are shared.
    """

    tape: tf.GradientTape
    scope: StateScope
    smashed: list[tf.Tensor]
    skips: list[tf.Tensor]
    losses: list[tf.Tensor]
    sent: list[tf.Tensor]


class TailPass(NamedTuple):
    """What the tail made of the features, and its gradients.

    Attributes:
        outputs: The model's outputs.
        loss: Of them.
        sent: Parts of the features' gradients.
        head_grads: Gradients of the head's skips and losses.
        weights_grad: One for each trainable variable; None where none flows.
    """

    outputs: list[tf.Tensor]
    loss: tf.Tensor
    sent: list[tf.Tensor]
    head_grads: list[tf.Tensor]
    weights_grad: list[tf.Tensor | None]


class ClientPasses:
    """Runs head and tail; nothing is assigned.

    Args:
        head: The head as a functional model.
        tail: The tail; None for a model that is cut once.
        cuts: What the two send and get.
        skips: Positions in the head's outputs of what goes to the tail.
        fused_batchnorm: Whether batch normalization is one operation.
        shared: Positions in the head's inputs of those that are shared.
    """

    def __init__(
        self,
        head: keras.Model,
        tail: keras.Model | None,
        cuts: ClientCuts,
        skips: Sequence[int],
        fused_batchnorm: bool,
        shared: Sequence[int] = (),
    ) -> None:
        if tail is not None:
            # Masks come with the skips, as they do in the whole model; those
            # of its outputs are what its layers make of them, and no others.
            tail.supports_masking = True
            tail.compute_mask = lambda inputs, previous_mask: None
        self._head = head
        self._tail = tail
        self._cuts = cuts
        self._skips = list(skips)
        self._count = len(cuts.smashed.specs)
        self._fused = fused_batchnorm
        self._shared = list(shared)

    @property
    def head_trains(self) -> bool:
        """Whether the head has weights to train, now.

        Those of it are what the gradients of the smashed data are for.
        """
        return bool(self._head.trainable_variables)

    def infer_head(
        self, inputs: list[tf.Tensor]
    ) -> tuple[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]]:
        """In inference mode: smashed data, the skips, and what is shared.

        The first after defenses, the last as parts.
        """
        inputs = input_checks.of_known_shape(inputs, self._head.inputs)
        made = flat(self._head(inputs, training=False))
        smashed = self._cuts.smashed.defend(made[: self._count], INFERENCE)
        skips = [made[i] for i in self._skips]
        return smashed, skips, self._parts_shared(inputs)

    def infer_tail(
        self,
        features: list[tf.Tensor],
        skips: list[tf.Tensor],
        inputs: list[tf.Tensor],
    ) -> list[tf.Tensor]:
        """The model's outputs in inference mode, from the features."""
        if self._tail is None:
            return features
        inputs = [*features, *skips, *inputs]
        made: list[tf.Tensor] = flat(self._tail(inputs, training=False))
        return made

    def run_head(
        self,
        inputs: list[tf.Tensor],
        model: keras.Model,
        values: list[tf.Tensor],
        moment: Moment,
        state: Updates | None = None,
    ) -> HeadPass:
        """The head in training mode.

        Args:
            inputs: Of the head.
            model: Owns the variables.
            values: Of its trainable variables.
            moment: When this is sent.
            state: Variables that are not as the model has them.
        """
        inputs = input_checks.of_known_shape(inputs, self._head.inputs)
        trained = zip(model.trainable_variables, values, strict=True)
        scope = StateScope(trained, state or [])
        with tf.GradientTape() as tape:
            tape.watch(values)
            with scope:
                made = self._run(self._head, inputs)
                # Cut once, nobody behind the head counts its regularizers.
                penalty = [] if self._tail is not None else [_penalty(model)]
            bare = made[: self._count]
            told = self._cuts.smashed.penalty(
                self._private(inputs), bare, self.head_trains
            )
            losses = penalty or list(scope.losses)
            if told is not None and penalty:
                losses = [penalty[0] + told]
            elif told is not None:
                losses.append(told)
            smashed = self._cuts.smashed.defend(bare, moment)
        return HeadPass(
            *(tape, scope, smashed, [made[i] for i in self._skips]),
            losses,
            self._cuts.smashed.quantize(smashed) + self._parts_shared(inputs),
        )

    def run_tail(
        self,
        head: HeadPass,
        parts: list[tf.Tensor],
        inputs: list[tf.Tensor],
        compute_loss: Callable[[list[tf.Tensor]], tf.Tensor],
        optimizer: Any,
        values: list[tf.Tensor],
        moment: Moment,
    ) -> TailPass:
        """The tail in training mode, there and back.

        Args:
            head: What the head made of the same examples.
            parts: Of their features.
            inputs: Raw inputs that only the tail reads.
            compute_loss: Loss of the model's outputs.
            optimizer: May scale the loss.
            values: Of the trainable variables.
            moment: When the gradients are sent.
        """
        assert self._tail is not None
        features = self._cuts.features.dequantize(parts)
        edge = [*features, *head.skips, *head.losses]
        with tf.GradientTape() as tape:
            tape.watch([*edge, *values])
            with head.scope:
                given = [*features, *head.skips, *inputs]
                outputs = self._run(self._tail, given)
                loss = compute_loss(outputs)
            # Keras drops what a layer of the tail added in the head before.
            kept = {id(x) for x in head.scope.losses}
            for lost in [x for x in head.losses if id(x) not in kept]:
                loss += tf.cast(lost, loss.dtype)
            scaled = optimizer.scale_loss(loss)
        found = tape.gradient(scaled, [*edge, *values])
        grads = [
            tf.zeros_like(t) if g is None else g
            for t, g in zip(edge, found[: len(edge)], strict=True)
        ]
        scale = loss_scale(optimizer)
        count = len(features)
        features_grad = [tf.cast(g, tf.float32) / scale for g in grads[:count]]
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # It skips a step that overflows; the server gets zeros for it.
            features_grad = [_zeros_unless_finite(g) for g in features_grad]
        sent = self._cuts.features_grad.send(
            features_grad, moment, self._cuts.features.positions(parts)
        )
        return TailPass(outputs, loss, sent, grads[count:], found[len(edge) :])

    def head_gradients(
        self,
        head: HeadPass,
        parts: list[tf.Tensor],
        head_grads: list[tf.Tensor],
        values: list[tf.Tensor],
        optimizer: Any,
    ) -> list[tf.Tensor | None]:
        """What the head adds to the gradient of each trainable variable.

        Args:
            head: What it made.
            parts: Of the gradients of its smashed data; none if it has no
                weights to train.
            head_grads: Gradients of its skips and losses.
            values: Of the trainable variables.
            optimizer: May scale the loss.
        """
        if not parts:
            return [None] * len(values)
        scale = loss_scale(optimizer)
        crossed = self._cuts.smashed.positions(head.sent)
        smashed_grad = [
            grad * tf.cast(scale, grad.dtype)
            for grad in self._cuts.smashed_grad.dequantize(parts, crossed)
        ]
        found: list[tf.Tensor | None] = head.tape.gradient(
            [*head.smashed, *head.skips, *head.losses],
            values,
            output_gradients=[*smashed_grad, *head_grads],
        )
        return found

    def _private(self, inputs: Sequence[Any]) -> list[Any]:
        """The inputs that no server is shown."""
        return [x for i, x in enumerate(inputs) if i not in self._shared]

    def _parts_shared(self, inputs: Sequence[Any]) -> list[tf.Tensor]:
        """Parts of the inputs that are shared, of all inputs of the head."""
        codec = self._cuts.smashed.shared
        return input_checks.pack(codec, [inputs[i] for i in self._shared])

    def _run(
        self, model: keras.Model, inputs: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Head or tail in training mode."""
        with fused(model, self._fused):
            made: list[tf.Tensor] = flat(model(inputs, training=True))
        return made


def loss_scale(optimizer: Any) -> tf.Tensor:
    """What the optimizer multiplies a loss with."""
    return tf.cast(optimizer.scale_loss(tf.ones(())), tf.float32)


def _penalty(model: keras.Model) -> tf.Tensor:
    """All regularizers of head and tail, in one number."""
    return tf.add_n([tf.cast(x, tf.float32) for x in model.losses] or [0.0])


def _zeros_unless_finite(grad: tf.Tensor) -> tf.Tensor:
    """The gradient, or zeros for one with NaN or infinity."""
    finite = tf.reduce_all(tf.math.is_finite(grad))
    return tf.where(finite, grad, tf.zeros_like(grad))
