"""A tail that would send such gradients, and the labels they are of."""

import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.errors import DataError
from keras_split.utils.counted import counted

_Array = np.ndarray[Any, Any]
_BATCH = 256
# Numbers that the gradients of all classes may have in a step.
_NUMBERS = 1 << 23
_RATE = 1e-2
_QUIET = 0.1
_FEW = 64  # examples that show what a tail returns
# Of a probability: 1 / p**2 is in the gradients, and is finite in float32.
_LEAST = 1e-12
# Part of the steps for which the labels to begin with are taken for true.
_BEGINNING = 0.2


class TailFit:
    """A tail that would send such gradients, and the labels they are of.

    It is trained to maximize, for features `f` and gradients `g`,

        log sum_c p(c | f) N(g; s grad_f loss(tail(f), c), v)

    with `p(c | f)` what it predicts, and a scale `s` and a variance `v` that
    are trained, too.

    Args:
        tail: Classes from features, see `tells_classes`; with new weights.
        features: One array for each tensor, shape `(examples, ...)`.
        sent: Gradients by these, shape `(examples, numbers)`, float32.
        classes: How many there are.
    """

    def __init__(
        self,
        tail: keras.Model,
        features: Sequence[_Array],
        sent: _Array,
        classes: int,
    ) -> None:
        self._tail, self._classes = tail, classes
        self._features, self._sent = list(features), sent
        # The scale of loss and batch is in the gradients: they are divided
        # by their root mean square length.
        length = float(
            np.sqrt(np.mean(np.sum(np.square(sent, dtype=float), 1)))
        )
        self._length = np.float32(length or 1.0)
        numbers = sent.shape[1]
        self._batch = max(1, min(_BATCH, _NUMBERS // (classes * numbers)))
        self._scale = keras.Variable(0.0)
        # As if all of a gradient were chance.
        self._chance = -np.log(numbers).astype("float32")
        self._variance = keras.Variable(self._chance)
        self._weights = [
            *tail.trainable_variables,
            self._scale,
            self._variance,
        ]
        self._optimizer: keras.optimizers.Optimizer | None = None
        self._step = tf.function(self._learn, autograph=False)
        self._probabilities = _are_probabilities(self._quieted())
        examples = [*self._features, sent]
        specs = [tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in examples]
        self._compare = tf.function(
            self._joint,
            input_signature=[specs[:-1], specs[-1]],  # a last batch is smaller
            autograph=False,
        )

    def begin_again(self, tail: keras.Model) -> None:
        """Forgets what was learned; its graphs stay.

        Args:
            tail: Like the first; its weights are those to begin with.
        """
        self._tail.set_weights(tail.get_weights())
        self._scale.assign(0.0)
        self._variance.assign(self._chance)
        self._quieted()

    def get_weights(self) -> list[_Array]:
        """What was learned."""
        return [np.array(weight) for weight in self._weights]

    def set_weights(self, values: Sequence[_Array]) -> None:
        """The inverse of `get_weights`."""
        for weight, value in zip(self._weights, values, strict=True):
            weight.assign(value)

    def _quieted(self) -> _Array:
        """What the tail returns at first, for a few examples.

        After that its last layer is as good as none: a tail that begins with
        an opinion finds worse labels (at noise of 4 times the gradients 50 %
        of them, 100 % without).
        """
        features = [part[:_FEW] for part in self._features]
        made = keras.tree.flatten(self._tail(features, training=False))[0]
        kernels = [w for w in self._tail.trainable_variables if w.ndim > 1]
        for kernel in kernels[-1:]:
            kernel.assign(_QUIET * kernel)
        return np.asarray(made)

    def learn(
        self,
        labels: _Array,
        places: _Array,
        rng: np.random.Generator,
        iterations: int,
        seconds: float,
    ) -> int:
        """Trains, at first as if some labels were known.

        Args:
            labels: Those to begin with, shape `(examples,)`.
            places: Of which examples these are taken.
            rng: Draws batches.
            iterations: How many; the same each time.
            seconds: How long they may take behind the first, which is traced
                and always done.

        Returns:
            How many were done.
        """
        if self._optimizer is None:
            rate = keras.optimizers.schedules.CosineDecay(_RATE, iterations)
            self._optimizer = keras.optimizers.Adam(rate)
            self._optimizer.build(self._weights)
        for slot in self._optimizer.variables:
            slot.assign(keras.ops.zeros_like(slot))
        everywhere = np.arange(len(self._sent))
        done, began = 0, 0.0
        while done < iterations:
            if done and time.perf_counter() - began > seconds:
                break
            begins = done < _BEGINNING * iterations
            pool = places if begins else everywhere
            some = rng.choice(pool, self._batch)
            self._step(
                [tf.constant(part[some]) for part in self._features],
                tf.constant(self._sent[some]) / self._length,
                tf.constant(labels[some], tf.int32),
                tf.constant(begins),
            )
            began = began if done else time.perf_counter()
            done += 1
        return done

    def likelihood(self) -> float:
        """Log-likelihood of what it learned from, in the mean."""
        joint = self.joint(self._features, self._sent)
        most = joint.max(1)
        rest = np.log(np.exp(joint - most[:, None]).sum(1))
        return float(np.mean(most + rest))

    def joint(self, features: Sequence[_Array], sent: _Array) -> _Array:
        """Log-likelihood of each label and what was sent.

        Args:
            features: One array for each tensor, shape `(examples, ...)`.
            sent: Gradients by these, shape `(examples, numbers)`.

        Returns:
            Shape `(examples, classes)`.
        """
        found = [
            self._compare(
                [
                    tf.constant(part[begin : begin + self._batch])
                    for part in features
                ],
                tf.constant(sent[begin : begin + self._batch]) / self._length,
            ).numpy()
            for begin in range(0, len(sent), self._batch)
        ]
        return np.concatenate(found)

    def _learn(
        self,
        features: list[tf.Tensor],
        sent: tf.Tensor,
        labels: tf.Tensor,
        begins: tf.Tensor,
    ) -> None:
        with tf.GradientTape() as tape:
            joint = self._joint(features, sent)
            known = tf.gather(joint, labels, batch_dims=1)
            summed = tf.reduce_logsumexp(joint, 1)
            loss = -tf.reduce_mean(tf.where(begins, known, summed))
        values = [weight.value for weight in self._weights]
        assert self._optimizer is not None
        self._optimizer.apply(tape.gradient(loss, values), self._weights)

    def _joint(self, features: list[tf.Tensor], sent: tf.Tensor) -> tf.Tensor:
        batch, classes = tf.shape(sent)[0], self._classes
        each = [tf.repeat(part, classes, axis=0) for part in features]
        labels = tf.tile(tf.range(classes), [batch])
        with tf.GradientTape() as tape:
            tape.watch(each)
            losses = -tf.gather(self._logs(each), labels, batch_dims=1)
        parts = tape.gradient(
            losses, each, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        made = tf.concat(
            [tf.reshape(part, (batch, classes, -1)) for part in parts], 2
        )
        scale = tf.exp(self._scale.value)
        squares = tf.reduce_sum((sent[:, None] - scale * made) ** 2, 2)
        variance, numbers = self._variance.value, float(sent.shape[1])
        fits = -0.5 * (squares * tf.exp(-variance) + numbers * variance)
        return tf.reshape(-losses, (batch, classes)) + fits

    def _logs(self, features: list[tf.Tensor]) -> tf.Tensor:
        """Logs of the probabilities of classes."""
        made = keras.tree.flatten(self._tail(features, training=False))[0]
        if self._probabilities:
            one = tf.concat([1 - made, made], 1) if made.shape[1] == 1 else made
            return tf.math.log(tf.maximum(one, _LEAST))
        if made.shape[1] == 1:  # of the second of two classes
            made = tf.concat([tf.zeros_like(made), made], 1)
        return tf.nn.log_softmax(made)


def tells_classes(tail: keras.Model, features: int, classes: int) -> None:
    """Checks that a tail tells classes apart, from features alone.

    Args:
        tail: It.
        features: How many tensors of features there are.
        classes: How many classes.

    Raises:
        DataError: If not.
    """
    shapes = [tuple(output.shape[1:]) for output in tail.outputs]
    apart = shapes == [(classes,)] or (shapes == [(1,)] and classes == 2)
    if len(tail.inputs) != features or not apart:
        raise DataError(
            f"Expected a tail that tells {classes} classes apart from features "
            f"alone. Received: one of {counted(len(tail.inputs), 'input')}, "
            f"for {counted(features, 'tensor')} of features, with outputs of "
            f"shape {', '.join(map(str, shapes))}. Take Clustering, which asks "
            "nothing of the tail."
        )


def _are_probabilities(made: _Array) -> bool:
    """Whether numbers that a tail returns are probabilities, not logits."""
    if made.min() < 0 or made.max() > 1:
        return False
    return made.shape[1] == 1 or bool(np.allclose(made.sum(1), 1, atol=1e-3))
