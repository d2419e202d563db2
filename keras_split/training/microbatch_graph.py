"""A training step of the body in parts.

Of a batch that travels in microbatches each has a graph like that of a whole
step, which ends with its gradients; their sum is committed by a graph of its
own. A batch of several phones has one graph, in which each phone's gradients
count for its share; where several processes compute it, each has such a graph
for its examples, which ends with gradients, too.
"""

import functools
from typing import Any

import tensorflow as tf

from keras_split.training import gradients
from keras_split.training.body_gradients import Gradients
from keras_split.training.commit import is_float
from keras_split.training.in_flight import StepHandle
from keras_split.training.step_graph import StepGraph


class MicrobatchGraph(StepGraph):
    """The compiled step of a body: whole, in microbatches, or merged."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.run_microbatch = tf.function(
            self._trace_microbatch, reduce_retracing=True, autograph=False
        )
        self.run_microbatch_forward = tf.function(
            self._trace_microbatch_forward,
            reduce_retracing=True,
            autograph=False,
        )
        self.run_merged = tf.function(
            self._trace_merged, reduce_retracing=True, autograph=False
        )
        self.run_merged_part = tf.function(
            self._trace_merged_part, reduce_retracing=True, autograph=False
        )
        self.add = tf.function(_trace_add, autograph=False)
        self.commit = tf.function(self._trace_commit, autograph=False)

    def seed_state(self) -> list[tf.Tensor]:
        """State that is no float, such as seeds, as it is now."""
        return [tf.convert_to_tensor(v.value) for v in self._counted]

    @property
    def merged_dtypes(self) -> list[tf.DType]:
        """Of what a merged step waits for: loss scale, shares, parts."""
        return [tf.float32, *self.gradient_dtypes]

    @property
    def merged_part_dtypes(self) -> list[tf.DType]:
        """Of what a part of one waits for: its share comes first."""
        return [tf.float32, *self.merged_dtypes]

    @property
    def _counted(self) -> list[Any]:
        return [v for v in self._state if not is_float(v)]

    def _trace_microbatch(
        self,
        step_handle: StepHandle,
        seed_state: list[tf.Tensor],
        parts: list[tf.Tensor],
    ) -> tuple[list[tf.Tensor], dict[str, Any]]:
        """Like `_trace`, but what would be committed is returned.

        Args:
            step_handle: As in `_trace`.
            seed_state: Seeds and the like: those that the microbatch before
                this one ended with.
            parts: Smashed data.

        Returns:
            Parts of the smashed data's gradients; and the gradients of the
            weights and the microbatch's share of the new state, by number.
        """
        passed = self.begin(parts, seed_state)
        features = self.cut_codecs.features.quantize(passed.features)
        after = self._after(seed_state, passed.state)
        share, scale, *back = self._in_flight.exchange(
            step_handle,
            [passed.penalty, *after, *features],
            [tf.float32, *self.gradient_dtypes],
        )
        scale.set_shape(())
        grads = self._gradients.received(back, features)
        # The penalty counts once, however many microbatches there are.
        found = self._differentiate(passed, grads, scale, share)
        smashed_grad = self._gradients.smashed(passed.smashed, found, scale)
        made = self._made(found, passed.state, share)
        return self._checked(smashed_grad, smashed_grad, passed.crossed), made

    def _trace_microbatch_forward(
        self, seed_state: list[tf.Tensor], parts: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Penalty, seed state afterwards and features; commits nothing."""
        values = [tf.convert_to_tensor(v.value) for v in self._trained]
        smashed = self.cut_codecs.smashed.dequantize(parts)
        given = [*smashed, *self.shared(parts)]
        features, state, penalty = self._forward(given, values, seed_state)
        return [
            penalty,
            *self._after(seed_state, state),
            *self.cut_codecs.features.quantize(features),
        ]

    def _trace_merged(
        self, step_handle: StepHandle, *parts: tf.Tensor
    ) -> list[tf.Tensor]:
        """Like `_trace`, for the examples of several phones.

        A phone's gradients are of the mean over its own examples, and the
        update is that of the mean over all. So what comes from a phone with n
        of N examples is multiplied by n / N, and what it gets by N / n.

        Args:
            step_handle: As in `_trace`; behind the loss scale comes the share
                of each example's phone, `(batch,)`: n / N, or 0 for one whose
                gradients are not there.
            *parts: Smashed data, one phone's behind the other's.
        """
        passed = self.begin(parts)
        features = self.cut_codecs.features.quantize(passed.features)
        scale, shares, *back = self._in_flight.exchange(
            step_handle,
            [passed.penalty, *features],
            self.merged_dtypes,
        )
        shares.set_shape((None,))
        received = self._gradients.received(back, features)
        grads = [_times(grad, shares) for grad in received]
        found = self._differentiate(passed, grads, scale)
        smashed_grad = self._commit(
            passed.smashed, found, passed.state, scale, [scale]
        )
        inverse = tf.math.reciprocal_no_nan(shares)
        theirs = [_times(grad, inverse) for grad in smashed_grad]
        return self._gradients.sent(theirs, passed.crossed)

    def _trace_merged_part(
        self,
        step_handle: StepHandle,
        seed_state: list[tf.Tensor],
        parts: list[tf.Tensor],
    ) -> tuple[list[tf.Tensor], dict[str, Any]]:
        """Like `_trace_merged`, for some of the examples; commits nothing.

        Args:
            step_handle: As in `_trace`; before the loss scale comes the share
                of these examples in the batch, `()`.
            seed_state: As in `_trace_microbatch`.
            parts: Smashed data, one phone's behind the other's.

        Returns:
            As `_trace_microbatch`.
        """
        passed = self.begin(parts, seed_state)
        features = self.cut_codecs.features.quantize(passed.features)
        part, scale, shares, *back = self._in_flight.exchange(
            step_handle,
            [
                passed.penalty,
                *self._after(seed_state, passed.state),
                *features,
            ],
            self.merged_part_dtypes,
        )
        scale.set_shape(())
        shares.set_shape((None,))
        received = self._gradients.received(back, features)
        grads = [_times(grad, shares) for grad in received]
        found = self._differentiate(passed, grads, scale, part)
        smashed_grad = self._gradients.smashed(passed.smashed, found, scale)
        inverse = tf.math.reciprocal_no_nan(shares)
        theirs = [_times(grad, inverse) for grad in smashed_grad]
        made = self._made(found, passed.state, part)
        return self._checked(theirs, smashed_grad, passed.crossed), made

    def _made(
        self,
        found: Gradients,
        state: list[tuple[Any, tf.Tensor]],
        share: tf.Tensor,
    ) -> dict[str, Any]:
        """Gradients of the weights, and a share of the new state, by number."""
        made = {
            f"weight_{i}": grad
            for i, grad in enumerate(self._gradients.weights(found))
            if grad is not None
        }
        numbers = {id(v): i for i, v in enumerate(self._state)}
        return made | {
            f"state_{numbers[id(v)]}": value * tf.cast(share, value.dtype)
            for v, value in state
            if is_float(v)
        }

    def _checked(
        self,
        out: list[tf.Tensor],
        smashed_grad: list[tf.Tensor],
        crossed: list[tf.Tensor | None],
    ) -> list[tf.Tensor]:
        """Parts of what is sent, once the gradients are known to be finite."""
        with tf.control_dependencies(self._finite(smashed_grad)):
            return [
                tf.identity(part) for part in self._gradients.sent(out, crossed)
            ]

    def _trace_commit(
        self,
        parts: list[dict[str, Any]],
        seed_state: list[tf.Tensor],
    ) -> None:
        """Updates weights and state by what microbatches add up to."""
        sums = functools.reduce(_trace_add, parts)
        pairs = [
            (sums[f"weight_{i}"], v)
            for i, v in enumerate(self._trained)
            if f"weight_{i}" in sums
        ]
        state = [
            (v, sums[f"state_{i}"])
            for i, v in enumerate(self._state)
            if f"state_{i}" in sums
        ]
        state += zip(self._counted, seed_state, strict=True)
        self._apply(pairs, state)

    def _after(
        self, seed_state: list[tf.Tensor], state: list[tuple[Any, tf.Tensor]]
    ) -> list[tf.Tensor]:
        new = {id(variable): value for variable, value in state}
        return [
            new.get(id(variable), old)
            for variable, old in zip(self._counted, seed_state, strict=True)
        ]


def _times(x: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Each example times its factor; zeros where that is 0, whatever it is."""
    shape = [-1] + [1] * (x.shape.rank - 1)
    factors = tf.cast(tf.reshape(factors, shape), x.dtype)
    return tf.math.multiply_no_nan(x, factors)


def _trace_add(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        name: gradients.add(value, other[name]) for name, value in one.items()
    }
