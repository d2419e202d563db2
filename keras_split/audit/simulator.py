"""Reconstruction by somebody who imitates the phone."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.audit.attack import Attack
from keras_split.audit.attack import Guess
from keras_split.audit.attack import Spent
from keras_split.audit.clock import Clock
from keras_split.audit.crossing import Crossing
from keras_split.audit.decoder import decoded
from keras_split.audit.decoder import decoder_for
from keras_split.audit.learner import Learner
from keras_split.audit.scene import Leaked
from keras_split.audit.scene import Scene
from keras_split.audit.seen import Seen
from keras_split.audit.task import Task
from keras_split.utils import retracing

_Array = np.ndarray[Any, Any]


class Simulator(Attack):
    """A head and a tail of its own, trained on public data.

    They learn the task through the server's body, which trains with the
    phone meanwhile, so the simulated head has to make smashed data that this
    body can use; a decoder of the simulated head is then tried on the phone's.
    Nothing makes the two kinds of smashed data alike, so this naive attack
    often does worse than the mean image; `SDAR` mends that.

    Args:
        steps_per_step: Own steps beside each one of the phone.
        steps_at_end: More of them on the last `memory` steps that it saw,
            at most, as learning rates fall along a cosine; fewer if `end` is
            given less time.
        learning_rate: Of Adam for head and tail.
        decoder_rate: Of Adam for the decoder.
        flip: Which part of the public labels is replaced by random ones, so
            that the tail does not learn them by heart, as in SDAR.
        memory: How many of the phone's last steps are kept to learn from.
        batch_size: Examples in an own step; at most as many as the phone has
            in its. Many small steps get further than few large ones: with
            480 of 128, SDAR's reconstructions of Fashion-MNIST had an SSIM
            of 0.47, with 720 of 64 one of 0.66, for less time.
    """

    name = "simulator"
    paper = (
        "Zhu et al., Passive Inference Attacks on Split Learning via "
        "Adversarial Regularization, NDSS 2025, arXiv 2310.10483, without "
        "the regularization"
    )

    def __init__(
        self,
        *,
        steps_per_step: int = 2,
        steps_at_end: int = 600,
        learning_rate: float = 2e-3,
        decoder_rate: float = 2e-3,
        flip: float = 0.1,
        memory: int = 16,
        batch_size: int = 64,
    ) -> None:
        self.steps_per_step = steps_per_step
        self.steps_at_end = steps_at_end
        self.learning_rate = learning_rate
        self.decoder_rate = decoder_rate
        self.flip = flip
        self.memory = memory
        self.batch_size = batch_size
        self._clock = Clock()

    def begin(self, scene: Scene) -> None:
        """Makes networks like the phone's."""
        self._scene = scene
        self._clock = Clock()
        self._crossing = Crossing(scene)
        self._task = Task(scene)
        self._head = scene.new_head()
        self._decoder = decoder_for(scene)
        imitated = _weights(self._head, self._task.tail)
        self._imitates = Learner(imitated, self.learning_rate)
        self._decodes = Learner(_weights(self._decoder), self.decoder_rate)
        self._learners = [self._imitates, self._decodes]
        self._rng = np.random.default_rng(scene.seed)
        self._chance = tf.random.Generator.from_seed(scene.seed)
        self._kept: deque[Sequence[_Array]] = deque(maxlen=self.memory)
        self._traced = tf.function(self._step, autograph=False)

    def saw(self, seen: Seen) -> None:
        """Learns for a few steps."""
        with self._clock, retracing.expected():
            self._kept.append(seen.smashed)
            for number in range(self.steps_per_step):
                # The newest first: the phone's head moves on.
                self._learn(seen.smashed if number == 0 else self._some())

    def end(self, leaked: Leaked, seconds: float) -> None:
        """Learns on, of the last steps."""
        with self._clock, retracing.expected():
            for number in range(self.steps_at_end if self._kept else 0):
                late = self._clock.running / max(seconds, 1e-9)
                if late >= 1:
                    break
                for learner in self._learners:
                    learner.slow_down(max(number / self.steps_at_end, late))
                self._learn(self._some())

    def spent(self) -> Spent:
        """Of all its networks."""
        return self._clock.spent

    def guess(self, seen: Sequence[Seen]) -> Guess:
        """What decoder and tail make of smashed data and features."""
        labels = None
        if self._task.tail is not None:
            found = [self._task.labels(list(step.features)) for step in seen]
            labels = np.concatenate(found)
        return Guess(inputs=decoded(self._decoder, seen), labels=labels)

    def _some(self) -> Sequence[_Array]:
        """Smashed data of one of the last steps."""
        return self._kept[self._rng.integers(len(self._kept))]

    def _learn(self, real: Sequence[_Array]) -> None:
        public = self._scene.public
        size = min(self.batch_size, len(real[0]))
        some = self._rng.permutation(len(real[0]))[:size]
        rows = self._rng.choice(len(public), size)
        self._traced(
            tf.constant(public.x[rows]),
            tf.constant(public.y[rows].astype("int32")),
            [tf.constant(tensor[some]) for tensor in real],
            tf.constant(self._clock.steps),
        )
        self._clock.steps += 1

    def _step(
        self,
        x: tf.Tensor,
        y: tf.Tensor,
        real: list[tf.Tensor],
        number: tf.Tensor,
    ) -> None:
        """One step of all networks, with smashed data of the phone."""
        with tf.GradientTape() as tape:
            made = self._crossing.send(self._head([x], training=True), number)
            loss = self._imitation_loss(made)
            if self._task.tail is not None:
                loss += self._task.loss(made, self._flipped(y))
        self._imitates.step(tape, loss)
        made = [tf.stop_gradient(tensor) for tensor in made]
        self._learn_to_tell(made, real)
        with tf.GradientTape() as tape:
            error = self._decoder(made, training=True) - x
            loss = tf.reduce_mean(error**2) + self._decoding_loss(x, real)
        self._decodes.step(tape, loss)

    def _imitation_loss(self, made: list[tf.Tensor]) -> tf.Tensor:
        """How unlike the phone's smashed data the simulated ones are."""
        return tf.zeros(())

    def _learn_to_tell(
        self, made: list[tf.Tensor], real: list[tf.Tensor]
    ) -> None:
        """Trains whatever tells simulated smashed data from the phone's."""

    def _decoding_loss(self, x: tf.Tensor, real: list[tf.Tensor]) -> tf.Tensor:
        """How unlike an input the phone's look when they are decoded."""
        return tf.zeros(())

    def _flipped(self, y: tf.Tensor) -> tf.Tensor:
        other = self._chance.uniform(
            tf.shape(y), 0, self._scene.classes, tf.int32
        )
        flipped = self._chance.uniform(tf.shape(y)) < self.flip
        return tf.where(flipped, other, y)


def _weights(*models: keras.Model | None) -> list[Any]:
    return [
        weight
        for model in models
        if model is not None
        for weight in model.trainable_variables
    ]
