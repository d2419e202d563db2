"""The phone's half, for batches that travel in microbatches.

Still one graph and one update. It has a host callback for each message that
leaves and for each that comes, and one thing at a time waits in them:

    head 0, send, head 1, send, ..., head 3, send, then for each microbatch:
    wait for its features, tail, send; the head of the fourth after it, send;
    from the fifth on first wait for gradients, head backward

What is waited for comes in the order in which it was asked for, and nobody
waits while there is something to send. The server is ahead by no more
microbatches than it can let wait.
"""

import functools
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf

from keras_split.training.client_step import ClientHalf
from keras_split.training.client_step import Step
from keras_split.training.client_step import step_total
from keras_split.training.client_step import zeros_unless_finite
from keras_split.training.shared_loss import SharedLoss
from keras_split.training.shared_loss import refused

# A server of two cores has places for four (`keras_split.training.in_flight`).
AHEAD = 4
Cut = Callable[[Any], Any]
ComputeLoss = Callable[[list[tf.Tensor], Cut], tf.Tensor]
_State = list[tuple[Any, tf.Tensor]]


class _Head(NamedTuple):
    """What the head made of a microbatch, and how to go back."""

    tape: tf.GradientTape
    scope: keras.StatelessScope
    smashed: list[tf.Tensor]
    sent: list[tf.Tensor]
    skips: list[tf.Tensor]


class _Tail(NamedTuple):
    """What the tail made of it, and its gradients.

    Attributes:
        outputs: The model's outputs.
        loss: The microbatch's part of the loss of the batch.
        features_grad: For the server.
        skips_grad: For the head.
        weights_grad: One for each trainable variable; None where none flows.
    """

    outputs: list[tf.Tensor]
    loss: tf.Tensor
    features_grad: list[tf.Tensor]
    skips_grad: list[tf.Tensor]
    weights_grad: list[tf.Tensor | None]


class MicrobatchedHalf(ClientHalf):
    """Runs head and tail of a client model, in microbatches if asked to."""

    def train_in_microbatches(
        self,
        head_inputs: list[tf.Tensor],
        tail_inputs: list[tf.Tensor],
        model: keras.Model,
        compute_loss: ComputeLoss,
        count: int,
    ) -> Step:
        """One step of a model that is cut twice, of `count` microbatches.

        A batch of fewer examples is one of `train`.

        Args:
            head_inputs: Inputs of the head.
            tail_inputs: Raw inputs that only the tail reads.
            model: Owns variables, metrics and optimizer.
            compute_loss: Loss of the model's outputs for a microbatch, the
                regularizers of head and tail included. It is given a
                function that cuts what belongs to the microbatch out of
                structures of tensors.
            count: How many.

        Returns:
            The step; its updates have no metrics.

        Raises:
            ProtocolError: With reason `"microbatches"`, if the loss of the
                batch is not made of those of its microbatches.
        """
        shared_loss = SharedLoss(model)

        def whole() -> Step:
            step = self.train(
                head_inputs,
                tail_inputs,
                model,
                lambda outputs: compute_loss(outputs, lambda tree: tree),
            )
            state = {id(v) for v in _state(model)}
            return step._replace(
                updates=[(v, new) for v, new in step.updates if id(v) in state]
            )

        def parts() -> Step:
            cuts, shares = _cuts(head_inputs[0], count)
            losses = [
                lambda outputs, cut=cut, share=share: shared_loss.part(
                    outputs, compute_loss(outputs, cut), share
                )
                for cut, share in zip(cuts, shares, strict=True)
            ]
            return self._train(
                [cut(head_inputs) for cut in cuts],
                [cut(tail_inputs) for cut in cuts],
                losses,
                shares,
                model,
                tf.shape(head_inputs[0])[0],
            )

        size = head_inputs[0].shape[0]
        if size is not None:
            return parts() if size >= count else whole()
        return _either(tf.shape(head_inputs[0])[0] >= count, parts, whole)

    def _train(
        self,
        head_inputs: list[list[tf.Tensor]],
        tail_inputs: list[list[tf.Tensor]],
        losses: Sequence[Callable[[list[tf.Tensor]], tf.Tensor]],
        shares: list[tf.Tensor],
        model: keras.Model,
        size: tf.Tensor,
    ) -> Step:
        exchanges = self._exchanges
        values = [
            tf.convert_to_tensor(v.value) for v in model.trainable_variables
        ]
        rate = tf.cast(model.optimizer.learning_rate, tf.float32)
        scale = tf.cast(model.optimizer.scale_loss(tf.ones(())), tf.float32)
        # Seeds go on from one microbatch to the next.
        seed_state: _State = []
        # What the next callback has to wait for.
        done: list[tf.Tensor] = []
        heads: list[_Head] = []
        tails: list[_Tail] = []
        gradients: list[tf.Tensor | None] = [None] * len(values)
        for what, i in _schedule(len(shares)):
            if what == "head":
                with tf.control_dependencies(done):  # not all heads at once
                    given = [tf.identity(t) for t in head_inputs[i]]
                head = self._run_head(given, model, values, seed_state)
                seed_state = _seed_state(model, head.scope)
                done = exchanges.send_forward(
                    i, len(shares), size, head.sent, done
                )
                heads.append(head)
            elif what == "tail":
                penalty, *parts = exchanges.receive_features(done)
                tail = self._run_tail(
                    *(heads[i], parts, tail_inputs[i], losses[i]),
                    *(model, values, seed_state, scale),
                )
                seed_state = _seed_state(model, heads[i].scope)
                grads = self._features_grad.quantize(
                    tail.features_grad, self._features.positions(parts)
                )
                done = exchanges.send_backward(
                    rate, tail.loss, grads, [penalty]
                )
                tails.append(tail)
            else:
                done = exchanges.receive_smashed_grad(done)
                found = heads[i].tape.gradient(
                    [*heads[i].smashed, *heads[i].skips],
                    values,
                    output_gradients=[
                        *self._scaled(done, heads[i].sent, scale),
                        *tails[i].skips_grad,
                    ],
                )
                gradients = _sum(gradients, tails[i].weights_grad)
                gradients = _sum(gradients, found)
        logged = tf.add_n([tail.loss for tail in tails]) + penalty
        outputs = [
            tf.concat(parts, axis=0)
            for parts in zip(*(tail.outputs for tail in tails), strict=True)
        ]
        scopes = [head.scope for head in heads]
        updates = _means(model, scopes, shares) + seed_state
        ready = exchanges.commit(step_total(model, gradients, updates), done)
        return Step(outputs, logged, gradients, updates, ready)

    def _run_head(
        self,
        inputs: list[tf.Tensor],
        model: keras.Model,
        values: list[tf.Tensor],
        seed_state: _State,
    ) -> _Head:
        trained = zip(model.trainable_variables, values, strict=True)
        scope = keras.StatelessScope(
            [*trained, *seed_state], collect_losses=True
        )
        with tf.GradientTape() as tape:
            tape.watch(values)
            with scope:
                made = self._run(self._head, inputs)
        smashed = made[: self._count]
        return _Head(
            *(tape, scope, smashed, self._smashed.quantize(smashed)),
            [made[i] for i in self._skips],
        )

    def _run_tail(
        self,
        head: _Head,
        parts: list[tf.Tensor],
        inputs: list[tf.Tensor],
        compute_loss: Callable[[list[tf.Tensor]], tf.Tensor],
        model: keras.Model,
        values: list[tf.Tensor],
        seed_state: _State,
        scale: tf.Tensor,
    ) -> _Tail:
        assert self._tail is not None
        features = self._features.dequantize(parts)
        for update in seed_state:
            head.scope.add_update(update)
        edge = [*features, *head.skips]
        with tf.GradientTape() as tape:
            tape.watch([*edge, *values])
            with head.scope:
                outputs = self._run(self._tail, [*edge, *inputs])
                loss = compute_loss(outputs)
                if head.scope.losses:
                    raise refused("a layer with a loss of its activations")
            scaled = model.optimizer.scale_loss(loss)
        found = tape.gradient(scaled, [*edge, *values])
        grads = [
            tf.zeros_like(t) if g is None else g
            for t, g in zip(edge, found[: len(edge)], strict=True)
        ]
        count = len(features)
        features_grad = [tf.cast(g, tf.float32) / scale for g in grads[:count]]
        if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
            features_grad = [zeros_unless_finite(g) for g in features_grad]
        return _Tail(
            outputs,
            tf.cast(loss, tf.float32),
            features_grad,
            grads[count:],
            found[len(edge) :],
        )


def _schedule(count: int) -> Iterator[tuple[str, int]]:
    """What the phone does in a step, and with which microbatch."""
    for i in range(min(count, AHEAD)):
        yield "head", i
    for i in range(count):
        if i >= AHEAD:
            yield "back", i - AHEAD
        yield "tail", i
        if i + AHEAD < count:
            yield "head", i + AHEAD
    for i in range(max(count - AHEAD, 0), count):
        yield "back", i


def _cuts(example: tf.Tensor, count: int) -> tuple[list[Cut], list[tf.Tensor]]:
    """Functions that cut out the microbatches, and their parts of the batch.

    Sizes differ by at most one.
    """
    size = example.shape[0]
    if size is None:
        size = tf.shape(example)[0]
    ends = [size * i // count for i in range(count + 1)]

    def cut(first: Any, end: Any, tree: Any) -> Any:
        return keras.tree.map_structure(
            lambda t: t if t is None else t[first:end], tree
        )

    pairs = list(zip(ends[:-1], ends[1:], strict=True))
    shares = [
        tf.cast(end - first, tf.float32) / tf.cast(size, tf.float32)
        for first, end in pairs
    ]
    return [functools.partial(cut, *pair) for pair in pairs], shares


def _seed_state(model: keras.Model, scope: keras.StatelessScope) -> _State:
    """Seeds and the like, as the scope has left them."""
    found = [
        (v, scope.get_current_value(v))
        for v in _state(model)
        if not _is_float(v)
    ]
    return [(v, value) for v, value in found if value is not None]


def _means(
    model: keras.Model,
    scopes: list[keras.StatelessScope],
    shares: list[tf.Tensor],
) -> _State:
    """Statistics as the mean of those that the microbatches ended with."""
    means = []
    for variable in filter(_is_float, _state(model)):
        new = [scope.get_current_value(variable) for scope in scopes]
        if new[0] is not None:
            terms = [
                value * tf.cast(share, value.dtype)
                for value, share in zip(new, shares, strict=True)
            ]
            means.append((variable, tf.add_n(terms)))
    return means


def _state(model: keras.Model) -> list[Any]:
    """Variables that a step changes without a gradient, but no metrics."""
    metrics = {id(v) for v in model.metrics_variables}
    return [v for v in model.non_trainable_variables if id(v) not in metrics]


def _is_float(variable: Any) -> bool:
    return bool(tf.as_dtype(variable.dtype).is_floating)


def _sum(
    ones: Sequence[tf.Tensor | None], others: Sequence[tf.Tensor | None]
) -> list[tf.Tensor | None]:
    """Gradient by gradient; sparse ones become dense."""
    return [
        _dense(other)
        if one is None
        else one
        if other is None
        else one + _dense(other)
        for one, other in zip(ones, others, strict=True)
    ]


def _dense(grad: tf.Tensor | None) -> tf.Tensor | None:
    return None if grad is None else tf.convert_to_tensor(grad)


def _either(
    condition: tf.Tensor, one: Callable[[], Step], other: Callable[[], Step]
) -> Step:
    """The step that a condition chooses when the graph runs."""
    steps: list[Step] = []

    def branch(make: Callable[[], Step]) -> list[tf.Tensor]:
        steps.append(make())
        outputs, loss, gradients, updates, ready, _ = steps[-1]
        moved = {id(variable): value for variable, value in updates}
        return [
            *(loss, ready),
            *outputs,
            *(_dense(grad) for grad in gradients if grad is not None),
            *(moved[id(variable)] for variable, _ in steps[0].updates),
        ]

    made = iter(tf.cond(condition, lambda: branch(one), lambda: branch(other)))
    loss, ready = next(made), next(made)
    like = steps[0]
    return Step(
        [next(made) for _ in like.outputs],
        loss,
        [None if grad is None else next(made) for grad in like.gradients],
        [(variable, next(made)) for variable, _ in like.updates],
        ready,
    )
