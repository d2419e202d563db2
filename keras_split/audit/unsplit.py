"""Reconstruction by optimization, of inputs and of the head at once."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.audit.attack import Attack
from keras_split.audit.attack import Guess
from keras_split.audit.attack import Spent
from keras_split.audit.clock import Clock
from keras_split.audit.images import bounds_of
from keras_split.audit.images import is_image
from keras_split.audit.learner import Learner
from keras_split.audit.scene import Leaked
from keras_split.audit.scene import Scene
from keras_split.audit.seen import Seen
from keras_split.utils import retracing


class UnSplit(Attack):
    """Inputs and a head that together explain some smashed data.

    In turns it moves inputs `x` for a while, then the weights of a head of
    its own, both down `|head(x) - smashed|**2` (relative to the variance of
    the smashed data); total variation keeps images smooth. It
    needs no public data but for their range. As it computes for each example
    anew, it guesses a handful alone, within `guess`.

    Args:
        examples: How many it reconstructs.
        rounds: Turns, at most; fewer if `end` is given less time.
        input_steps: Of Adam for the inputs, in a turn.
        head_steps: Of Adam for the head, in a turn.
        input_rate: Learning rate of the inputs, as a part of their range.
        head_rate: Learning rate of the head.
        smoothness: Weight of the total variation.
    """

    name = "UnSplit"
    paper = (
        "Erdoğan, Küpçü and Çiçek, UnSplit: Data-Oblivious Model Inversion, "
        "Model Stealing, and Label Inference Attacks Against Split Learning, "
        "WPES 2022, arXiv 2108.09033; the head in inference mode"
    )

    def __init__(
        self,
        *,
        examples: int = 16,
        rounds: int = 200,
        input_steps: int = 20,
        head_steps: int = 20,
        input_rate: float = 0.01,
        head_rate: float = 1e-3,
        smoothness: float = 0.1,
    ) -> None:
        self.examples = examples
        self.rounds = rounds
        self.input_steps = input_steps
        self.head_steps = head_steps
        self.input_rate = input_rate
        self.head_rate = head_rate
        self.smoothness = smoothness
        self._clock = Clock()

    def begin(self, scene: Scene) -> None:
        """Keeps the scene."""
        self._scene = scene
        self._seconds = 0.0
        self._clock = Clock()

    def end(self, leaked: Leaked, seconds: float) -> None:
        """Keeps the time, for `guess`."""
        self._seconds = seconds

    def spent(self) -> Spent:
        """Of all that was guessed."""
        return self._clock.spent

    def guess(self, seen: Sequence[Seen]) -> Guess:
        """Reconstructs the first examples."""
        smashed = [
            np.concatenate(tensors)[: self.examples]
            for tensors in zip(*(step.smashed for step in seen), strict=True)
        ]
        with self._clock, retracing.expected():
            return Guess(inputs=self._explain(smashed))

    def _explain(
        self, smashed: list[np.ndarray[Any, Any]]
    ) -> np.ndarray[Any, Any]:
        public, head = self._scene.public.x, self._scene.new_head()
        low, high = bounds_of(public)
        image = is_image(public.shape[1:])
        shape = (len(smashed[0]), *public.shape[1:])
        x = tf.Variable(tf.fill(shape, np.float32((low + high) / 2)))
        wanted = [tf.constant(tensor) for tensor in smashed]
        scale = [max(float(tensor.var()), 1e-12) for tensor in smashed]
        inputs = Learner([x], self.input_rate * (high - low))
        weights = Learner(head.trainable_variables, self.head_rate)

        def error() -> tf.Tensor:
            made = keras.tree.flatten(head([x], training=False))
            return tf.add_n(
                [
                    tf.reduce_mean((tf.cast(m, tf.float32) - w) ** 2) / s
                    for m, w, s in zip(made, wanted, scale, strict=False)
                ]
            )

        def move_inputs() -> None:
            with tf.GradientTape() as tape:
                loss = error()
                if image:
                    loss += self.smoothness * _roughness(x) / (high - low)
            inputs.step(tape, loss)
            if image:
                x.assign(tf.clip_by_value(x, low, high))

        def move_head() -> None:
            with tf.GradientTape() as tape:
                loss = error()
            weights.step(tape, loss)

        turns = [
            (tf.function(move_inputs, autograph=False), self.input_steps),
            (tf.function(move_head, autograph=False), self.head_steps),
        ]
        for _ in range(self.rounds):
            for move, steps in turns:
                for _ in range(steps):
                    move()
                self._clock.steps += steps
            if self._clock.running > self._seconds:
                break
        made: np.ndarray[Any, Any] = x.numpy()
        return made


def _roughness(x: tf.Tensor) -> tf.Tensor:
    """Total variation a value."""
    size = tf.cast(tf.size(x), tf.float32)
    return tf.reduce_sum(tf.image.total_variation(x)) / size
