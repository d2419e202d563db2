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

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_split.defenses.chain import Moment
from keras_split.errors import DefenseError
from keras_split.training.client_passes import HeadPass
from keras_split.training.client_passes import TailPass
from keras_split.training.client_step import ClientHalf
from keras_split.training.client_step import Step
from keras_split.training.client_step import multipliers_of
from keras_split.training.client_step import step_total
from keras_split.training.client_step import values_of
from keras_split.training.gradients import add
from keras_split.training.shared_loss import SharedLoss
from keras_split.training.shared_loss import refused
from keras_split.training.slices import Slice
from keras_split.training.slices import slices
from keras_split.training.state_scope import Updates
from keras_split.training.state_scope import unlisted
from keras_split.utils import keras_private

# A server of two cores has places for four (`keras_split.training.tf_threads`).
AHEAD = 4
ComputeLoss = Callable[[list[tf.Tensor], Callable[[Any], Any]], tf.Tensor]


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
            DefenseError: If a defense is a loss of the whole batch.
        """
        shared_loss = SharedLoss(model)
        example = next(t for t in head_inputs if t is not None)
        if keras_private.is_stateful(model):
            # It would not even take fewer examples than its state has.
            raise refused("a layer that keeps a state between batches")

        if self._defenses.has_penalty:
            raise DefenseError(
                "Expected batches that travel whole, for a defense that is a "
                "loss of all pairs of examples. Received: microbatches="
                f"{count}. Train with SplitStrategy(..., microbatches=1)."
            )

        def whole() -> Step:
            step = self.train(
                head_inputs,
                tail_inputs,
                model,
                lambda outputs: compute_loss(outputs, lambda tree: tree),
            )
            state = {id(v) for v in _moved(model)}
            return step._replace(
                updates=[(v, new) for v, new in step.updates if id(v) in state]
            )

        def parts() -> Step:
            return self._train(
                slices(example, count),
                head_inputs,
                tail_inputs,
                model,
                lambda outputs, part: shared_loss.part(
                    outputs, compute_loss(outputs, part.of), part.share
                ),
            )

        size = example.shape[0]
        if size is not None:
            return parts() if size >= count else whole()
        return _either(tf.shape(example)[0] >= count, parts, whole)

    def _train(
        self,
        parts: list[Slice],
        head_inputs: list[tf.Tensor],
        tail_inputs: list[tf.Tensor],
        model: keras.Model,
        compute_loss: Callable[[list[tf.Tensor], Slice], tf.Tensor],
    ) -> Step:
        optimizer, passes = model.optimizer, self._passes
        exchanges = self._exchanges
        values = values_of(model)
        size = tf.shape(next(t for t in head_inputs if t is not None))[0]
        moments = [
            Moment(keras_private.steps_taken(optimizer), part.first, size=size)
            for part in parts
        ]
        rate = multipliers_of(model).of_body(optimizer)
        # Seeds go on from one microbatch to the next.
        seed_state: Updates = []
        # What the next exchange has to wait for.
        done: list[tf.Tensor] = []
        heads: list[HeadPass] = []
        tails: list[TailPass] = []
        gradients: list[tf.Tensor | None] = [None] * len(values)
        penalty = tf.zeros(())

        def loss_of(outputs: list[tf.Tensor]) -> tf.Tensor:
            loss = compute_loss(outputs, parts[len(tails)])
            head = heads[len(tails)]
            if head.losses or head.scope.losses:
                raise refused("a layer with a loss of its activations")
            return loss

        for what, i in _schedule(len(parts)):
            if what == "head":
                with tf.control_dependencies(done):  # not all heads at once
                    given = [
                        t if t is None else tf.identity(t)
                        for t in parts[i].of(head_inputs)
                    ]
                head = passes.run_head(
                    given, model, values, moments[i], seed_state
                )
                seed_state = _seed_state(model, head.scope)
                done = exchanges.send_forward(
                    *(i, len(parts), size, head.sent, done),
                    passes.head_trains,
                )
                heads.append(head)
            elif what == "tail":
                penalty, *features = exchanges.receive_features(done)
                for update in seed_state:
                    heads[i].scope.add_update(update)
                tail = passes.run_tail(
                    *(heads[i], features, parts[i].of(tail_inputs), loss_of),
                    *(optimizer, values, moments[i]),
                )
                seed_state = _seed_state(model, heads[i].scope)
                loss = tf.cast(tail.loss, tf.float32)
                done = exchanges.send_backward(rate, loss, tail.sent, [penalty])
                tails.append(tail._replace(loss=loss))
            else:
                grads, done = exchanges.receive_smashed_grad(
                    done, passes.head_trains
                )
                found = passes.head_gradients(
                    heads[i], grads, tails[i].head_grads, values, optimizer
                )
                gradients = _sum(gradients, tails[i].weights_grad)
                gradients = _sum(gradients, found)
        logged = tf.add_n([tail.loss for tail in tails]) + penalty
        outputs = [
            tf.concat(made, axis=0)
            for made in zip(*(tail.outputs for tail in tails), strict=True)
        ]
        scopes = [head.scope for head in heads]
        listed = [*model.variables, *model.metrics_variables]
        for scope in scopes:
            if unlisted(scope.updates(), listed):
                raise refused("a layer that keeps a state between batches")
        updates = _means(model, scopes, [part.share for part in parts])
        updates += seed_state
        ready = exchanges.commit(step_total(model, gradients, updates), done)
        return Step(outputs, logged, gradients, updates, ready)


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


def _seed_state(model: keras.Model, scope: keras.StatelessScope) -> Updates:
    """Seeds and the like, as the scope has left them."""
    found = [
        (v, scope.get_current_value(v))
        for v in _moved(model)
        if not _is_float(v)
    ]
    return [(v, value) for v, value in found if value is not None]


def _means(
    model: keras.Model,
    scopes: list[keras.StatelessScope],
    shares: list[tf.Tensor],
) -> Updates:
    """Statistics as the mean of those that the microbatches ended with."""
    means = []
    for variable in filter(_is_float, _moved(model)):
        new = [scope.get_current_value(variable) for scope in scopes]
        if new[0] is not None:
            terms = [
                value * tf.cast(share, value.dtype)
                for value, share in zip(new, shares, strict=True)
            ]
            means.append((variable, tf.add_n(terms)))
    return means


def _moved(model: keras.Model) -> list[Any]:
    """Variables that a step changes without a gradient, but no metrics."""
    metrics = {id(v) for v in model.metrics_variables}
    return [v for v in model.non_trainable_variables if id(v) not in metrics]


def _is_float(variable: Any) -> bool:
    return bool(tf.as_dtype(variable.dtype).is_floating)


def _sum(
    ones: Sequence[tf.Tensor | None], others: Sequence[tf.Tensor | None]
) -> list[tf.Tensor | None]:
    """Gradient by gradient.

    Those of an `Embedding` stay sparse, as they are of a whole batch: Adam
    squares them row by row, before it adds up those of one word.
    """
    return [add(one, other) for one, other in zip(ones, others, strict=True)]


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
            *(part for grad in gradients for part in _parts(grad)),
            *(moved[id(variable)] for variable, _ in steps[0].updates),
        ]

    made = iter(tf.cond(condition, lambda: branch(one), lambda: branch(other)))
    loss, ready = next(made), next(made)
    like = steps[0]
    return Step(
        [next(made) for _ in like.outputs],
        loss,
        [_of_parts(grad, made) for grad in like.gradients],
        [(variable, next(made)) for variable, _ in like.updates],
        ready,
    )


def _parts(gradient: Any) -> list[tf.Tensor]:
    """A gradient as tensors that a condition can return."""
    if isinstance(gradient, tf.IndexedSlices):
        return [gradient.values, gradient.indices, gradient.dense_shape]
    return [] if gradient is None else [gradient]


def _of_parts(like: Any, parts: Iterator[tf.Tensor]) -> Any:
    """The inverse of `_parts`, for a gradient of the kind of another."""
    if isinstance(like, tf.IndexedSlices):
        return tf.IndexedSlices(next(parts), next(parts), next(parts))
    return None if like is None else next(parts)
