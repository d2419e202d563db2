"""One training step of the body as one TensorFlow graph.

Forward, backward and update are one graph, which hands the features out in
the middle and waits for their gradients (`in_flight`). The graph
optimizer sees everything, so a split step costs what an unsplit one does; an
eager tape round a compiled forward was measured at 1.09 to 1.17 of it for
MobileNetV2 (docs/benchmarks.md).

Where link and phone would wait, another graph is run, which hands the
gradients of the smashed data out before those of the weights are computed
(`keras_split.training.delayed_wgrad`).

Everything is computed before anything is assigned: a step that is abandoned,
or whose gradients are not finite, leaves no trace.
"""

import functools
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple
from typing import Self

import keras
import tensorflow as tf

from keras_split.compression.cut_codec import CutCodec
from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.training import delayed_wgrad
from keras_split.training.body_gradients import BodyGradients
from keras_split.training.body_gradients import Gradients
from keras_split.training.commit import commit
from keras_split.training.commit import is_float
from keras_split.training.fused_batchnorm import fused
from keras_split.training.graph_checks import check
from keras_split.training.graph_checks import total
from keras_split.training.in_flight import StepHandle
from keras_split.training.in_flight import StepsInFlight
from keras_split.training.state_scope import StateScope
from keras_split.training.state_scope import check_listed
from keras_split.utils import keras_private


class CutCodecs(NamedTuple):
    """The four kinds of cut-layer tensors as the server sees them."""

    smashed: CutCodec
    features: CutCodec
    features_grad: CutCodec
    smashed_grad: CutCodec


class ForwardPass(NamedTuple):
    """A body between its forward and its backward, inside a graph.

    Attributes:
        smashed: The smashed data.
        crossed: Where its values crossed, for their gradients.
        values: The weights that the forward pass saw.
        features: What it made.
        state: State variables and their new values.
        penalty: The body's regularization loss.
        tape: Knows how to come back.
    """

    smashed: list[tf.Tensor]
    crossed: list[tf.Tensor | None]
    values: list[tf.Tensor]
    features: list[tf.Tensor]
    state: list[tuple[Any, tf.Tensor]]
    penalty: tf.Tensor
    tape: tf.GradientTape


class StepGraph:
    """The compiled step of a body under one optimizer.

    Args:
        body: The body as a functional model.
        cut_codecs: Its cut-layer tensors.
        optimizer: Updates the weights.
        in_flight: Where it waits: it hands out the penalty and the parts of the
            features, and gets the loss scale and the parts of the features'
            gradients.
        loss_model: Computes the loss of a model that is cut once.
        fused_batchnorm: As in `keras_split.compile`.
        smashed_grad: Whether the head needs gradients of the smashed data.

    Attributes:
        body: The same.
        cut_codecs: The same.
        optimizer: The same.
        goes_back: Whether anything needs a backward pass of the body.
        gradient_dtypes: Of what a step waits for: the loss scale and the
            parts.
    """

    def __init__(
        self,
        body: keras.Model,
        cut_codecs: CutCodecs,
        optimizer: keras.optimizers.Optimizer,
        in_flight: StepsInFlight,
        loss_model: keras.Model | None = None,
        *,
        fused_batchnorm: bool = False,
        smashed_grad: bool = True,
    ) -> None:
        self.body = body
        self.cut_codecs = cut_codecs
        self.optimizer = optimizer
        self._in_flight = in_flight
        self._loss_model = loss_model
        self._fused = fused_batchnorm
        self._smashed_grad = smashed_grad
        self._across: dict[CutCodecs, Self] = {}
        self._trained = list(body.trainable_variables)
        self._state = list(body.non_trainable_variables)
        self._gradients = BodyGradients(
            cut_codecs,
            self._trained,
            smashed_grad=smashed_grad,
            half_precision=any(
                getattr(layer, "compute_dtype", "") == "float16"
                for layer in keras_private.flatten_layers(body)
            ),
        )
        self.goes_back = self._gradients.needed
        self.gradient_dtypes = [tf.float32, *self._gradients.dtypes]
        if not optimizer.built:  # a LossScaleOptimizer would begin anew
            optimizer.build(self._trained)
        # A known batch size is worth 3 % of the step, so each gets a trace.
        self.run = tf.function(
            self._trace, reduce_retracing=True, autograph=False
        )
        self.run_early = tf.function(
            self._trace_early, reduce_retracing=True, autograph=False
        )
        self.run_forward = tf.function(
            self._trace_forward, reduce_retracing=True, autograph=False
        )
        self.run_labeled = tf.function(
            self._trace_labeled, reduce_retracing=True, autograph=False
        )

    @functools.cached_property
    def for_frozen_head(self) -> Self:
        """The same step, for a head that has no weights to train.

        Nothing is computed but what the body's own weights need.
        """
        return self._sibling(self.cut_codecs, smashed_grad=False)

    def across(self, cut_codecs: CutCodecs) -> Self:
        """The same step, for tensors of another shape; made once for each."""
        if cut_codecs is self.cut_codecs:
            return self
        if cut_codecs not in self._across:
            wanted = self._smashed_grad
            made = self._sibling(cut_codecs, smashed_grad=wanted)
            self._across[cut_codecs] = made
        return self._across[cut_codecs]

    def _sibling(self, cut_codecs: CutCodecs, *, smashed_grad: bool) -> Self:
        return type(self)(
            self.body,
            cut_codecs,
            self.optimizer,
            self._in_flight,
            self._loss_model,
            fused_batchnorm=self._fused,
            smashed_grad=smashed_grad,
        )

    def unwrapped(self, features_grad: Sequence[CutTensor]) -> list[Any]:
        """Parts of the features' gradients that it waits for."""
        if not self.goes_back:
            return []
        return self.cut_codecs.features_grad.unwrap(features_grad)

    def _trace(
        self, step_handle: StepHandle, *parts: tf.Tensor
    ) -> list[tf.Tensor]:
        """Smashed data in, gradients of the smashed data out; commits."""
        passed, grads, scale = self._begin(step_handle, parts)
        # The commit waits for the exchange: the scale came from it.
        return self.finish(passed, grads, scale, [scale])

    def _trace_early(
        self, step_handle: StepHandle, *parts: tf.Tensor
    ) -> tf.Tensor:
        """The same, but the gradients leave before the update."""
        passed, grads, scale = self._begin(step_handle, parts)
        before = delayed_wgrad.operations()
        found = self._differentiate(passed, grads, scale)
        smashed_grad = self._gradients.smashed(passed.smashed, found, scale)
        out = self._gradients.sent(smashed_grad, passed.crossed)
        with tf.control_dependencies(self._finite(smashed_grad)):
            sent = self._in_flight.hand_out(step_handle, out)
        pairs = self._pairs(found)
        delayed_wgrad.defer(
            [grad for grad, _ in pairs], smashed_grad, sent, before
        )
        self._apply(pairs, passed.state, [scale, sent], smashed_grad)
        return sent

    def _begin(
        self, step_handle: StepHandle, parts: Sequence[tf.Tensor]
    ) -> tuple[ForwardPass, list[tf.Tensor], tf.Tensor]:
        """The body forward; the features' gradients, and the loss scale."""
        passed = self.begin(parts)
        features = self.cut_codecs.features.quantize(passed.features)
        scale, *back = self._in_flight.exchange(
            step_handle, [passed.penalty, *features], self.gradient_dtypes
        )
        return passed, self._gradients.received(back, features), scale

    def shared(self, parts: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Inputs of the model that came behind the smashed data."""
        return self.cut_codecs.smashed.shared.unpack(parts)

    def begin(
        self,
        parts: Sequence[tf.Tensor],
        seed_state: list[tf.Tensor] | None = None,
    ) -> ForwardPass:
        """The first half of a step: the body forward.

        Args:
            parts: Of the smashed data.
            seed_state: Seeds and the like, if not as they are.
        """
        # One explicit read each: the backward pass uses the weights that
        # the forward pass saw, whatever other sessions commit in between.
        values = [tf.convert_to_tensor(v.value) for v in self._trained]
        smashed = self.cut_codecs.smashed.dequantize(parts)
        with tf.GradientTape() as tape:
            tape.watch(self._gradients.sources(smashed, values))
            features, state, penalty = self._forward(
                [*smashed, *self.shared(parts)], values, seed_state
            )
        crossed = self.cut_codecs.smashed.positions(parts)
        return ForwardPass(
            smashed, crossed, values, features, state, penalty, tape
        )

    def finish(
        self,
        passed: ForwardPass,
        features_grad: list[tf.Tensor],
        scale: tf.Tensor,
        ready: Sequence[Any],
    ) -> list[tf.Tensor]:
        """The second half: the body backward, and the commit.

        Args:
            passed: The first half.
            features_grad: Gradients of the loss by the features.
            scale: The factor that float16 gradients are computed with.
            ready: What the commit waits for.

        Returns:
            Parts of the gradients of the smashed data.
        """
        found = self._differentiate(passed, features_grad, scale)
        smashed_grad = self._commit(
            passed.smashed, found, passed.state, scale, ready
        )
        return self._gradients.sent(smashed_grad, passed.crossed)

    def _differentiate(
        self,
        passed: ForwardPass,
        features_grad: list[tf.Tensor],
        scale: tf.Tensor,
        share: tf.Tensor | float = 1.0,
    ) -> Gradients:
        """Gradients of the smashed data, if wanted, then of the weights."""
        return self._gradients.of(
            passed.tape,
            [*passed.features, passed.penalty],
            self._gradients.sources(passed.smashed, passed.values),
            [
                *(grad * tf.cast(scale, grad.dtype) for grad in features_grad),
                scale * share,
            ],
        )

    def _trace_forward(self, *parts: tf.Tensor) -> list[tf.Tensor]:
        """Smashed data in, penalty and features out; commits nothing."""
        values = [tf.convert_to_tensor(v.value) for v in self._trained]
        smashed = self.cut_codecs.smashed.dequantize(parts)
        given = [*smashed, *self.shared(parts)]
        features, _, penalty = self._forward(given, values)
        return [penalty, *self.cut_codecs.features.quantize(features)]

    def _trace_labeled(
        self,
        parts: list[tf.Tensor],
        labels: list[tf.Tensor],
        weights: list[tf.Tensor],
        scale: tf.Tensor,
    ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
        """The step of a model that is cut once: the loss is computed here."""
        assert self._loss_model is not None
        values = [tf.convert_to_tensor(v.value) for v in self._trained]
        smashed = self.cut_codecs.smashed.dequantize(parts)
        with tf.GradientTape() as tape:
            sources = self._gradients.sources(smashed, values)
            tape.watch(sources)
            given = [*smashed, *self.shared(parts)]
            features, state, penalty = self._forward(given, values)
            with keras.StatelessScope():
                loss = self._loss_model.compute_loss(
                    y=_bare(labels),
                    y_pred=_bare(features),
                    sample_weight=_bare(weights),
                )
            objective = tf.cast(loss, tf.float32) + penalty
        found = self._gradients.of(tape, [objective], sources, [scale])
        out = self.cut_codecs.features.quantize(features)
        # No limit holds for what labels and sample weights make of them.
        scaled = keras.optimizers.LossScaleOptimizer
        ready = []
        if not isinstance(self.optimizer, scaled):  # else it skips the step
            ready = self._finite(self._gradients.weights(found))
        made = self._commit(smashed, found, state, scale, ready)
        crossed = self.cut_codecs.smashed.positions(parts)
        return objective, out, self._gradients.sent(made, crossed)

    def _forward(
        self,
        given: list[tf.Tensor],
        values: list[tf.Tensor],
        seed_state: list[tf.Tensor] | None = None,
    ) -> tuple[list[tf.Tensor], list[tuple[Any, tf.Tensor]], tf.Tensor]:
        """The body in training mode, as a pure function.

        Args:
            given: The smashed data, then the shared inputs.
            values: Of the weights.
            seed_state: What to begin with instead of the state that is no
                float.

        Returns:
            Features, new values of state variables, and the penalty.
        """
        seeds = iter(seed_state or ())
        before = [
            tf.convert_to_tensor(v.value)
            if seed_state is None or is_float(v)
            else next(seeds)
            for v in self._state
        ]
        with fused(self.body, self._fused):
            scope = StateScope(
                zip(self._trained, values, strict=True),
                zip(self._state, before, strict=True),
            )
            with scope:
                features = self.body(given, training=True)
                losses = self.body.losses
        state = scope.updates()
        check_listed(state, self.body)
        if seed_state is not None:
            self._check_losses(len(losses))
        penalty = tf.add_n([tf.cast(x, tf.float32) for x in losses] or [0.0])
        return keras.tree.flatten(features), state, penalty

    def _check_losses(self, count: int) -> None:
        """Refuses microbatches where a loss of activations would not add up."""
        weights = [v for v in self._trained if v.regularizer is not None]
        if count > len(weights):
            raise ProtocolError(
                "Expected a body whose only losses are regularizers of "
                "weights, for a batch that is computed in parts. Received: "
                "one with a layer that adds a loss of its activations. Train "
                "with SplitStrategy(..., microbatches=1), and have one "
                "process compute the steps of a merged cohort.",
                "microbatches",
            )

    def _commit(
        self,
        smashed: list[tf.Tensor],
        found: Gradients,
        state: list[tuple[Any, tf.Tensor]],
        scale: tf.Tensor,
        ready: Sequence[Any] = (),
    ) -> list[tf.Tensor]:
        """Updates weights and state; returns the smashed data's gradients.

        Args:
            smashed: The smashed data.
            found: Gradients of the smashed data, if wanted, and the weights.
            state: State variables and their new values.
            scale: The factor that is in the gradients, and that a
                `LossScaleOptimizer` takes out again.
            ready: What the update waits for.
        """
        smashed_grad = self._gradients.smashed(smashed, found, scale)
        pairs = self._pairs(found)
        self._apply(pairs, state, ready, smashed_grad)
        return smashed_grad

    def _pairs(self, found: Gradients) -> list[tuple[tf.Tensor, Any]]:
        """The weights' gradients that there are, and what they are of."""
        return [
            (grad, variable)
            for grad, variable in zip(
                self._gradients.weights(found), self._trained, strict=True
            )
            if grad is not None
        ]

    def _apply(
        self,
        pairs: list[tuple[tf.Tensor, Any]],
        state: list[tuple[Any, tf.Tensor]],
        ready: Sequence[Any] = (),
        smashed_grad: Sequence[tf.Tensor] = (),
    ) -> None:
        """Assigns everything, if all of it is finite.

        Gradients of the weights are not looked at by themselves: what they
        make is, and a `LossScaleOptimizer` skips those that are not finite.
        """
        finite = self._finite([*smashed_grad, *(value for _, value in state)])
        with tf.control_dependencies([*ready, *finite]):
            commit(self.optimizer, pairs, state, self._trained)

    def _finite(self, tensors: Sequence[tf.Tensor | None]) -> list[Any]:
        """What to wait for so that nothing that is not finite goes on."""
        return [check(tf.math.is_finite(total(tensors)), "body")]


def _bare(values: list[tf.Tensor]) -> Any:
    if not values:
        return None
    return values[0] if len(values) == 1 else values
