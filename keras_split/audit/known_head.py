"""Reconstruction by somebody who has the phone's head."""

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
from keras_split.utils import retracing


class KnownHead(Attack):
    """A decoder of the phone's own head, trained on public data.

    It minimizes `|decoder(send(head(x))) - x|**2` over public `x`, where
    `send` is defenses and quantization, and the head runs as in a training
    step: batch normalization takes the moments of the batch. No server knows
    the head, so it is the ceiling: what smashed data hold at all.

    Args:
        steps: Of the decoder, at most; fewer if `end` is given less time.
        learning_rate: Of Adam at first; it falls to 0 along a cosine.
        batch_size: Public examples in a step; by default as the phone has.
    """

    name = "known head"
    paper = (
        "He, Zhang and Lee, Model Inversion Attacks Against Collaborative "
        "Inference, ACSAC 2019: its inverse network, of a head that is known"
    )
    knows = frozenset({"head"})

    def __init__(
        self,
        *,
        steps: int = 2000,
        learning_rate: float = 3e-3,
        batch_size: int | None = None,
    ) -> None:
        self.steps = steps
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self._clock = Clock()

    def begin(self, scene: Scene) -> None:
        """Keeps the scene."""
        self._scene = scene
        self._seen_batch = 32
        self._clock = Clock()

    def saw(self, seen: Seen) -> None:
        """Looks how large a batch is."""
        self._seen_batch = len(seen)

    def end(self, leaked: Leaked, seconds: float) -> None:
        """Trains the decoder."""
        scene, head = self._scene, self._head_of(leaked)
        x = scene.public.x
        self._decoder = decoder_for(scene)
        batch = self.batch_size or self._seen_batch
        with self._clock, retracing.expected():
            self._train(head, x, batch, seconds)

    def spent(self) -> Spent:
        """Of the decoder."""
        return self._clock.spent

    def guess(self, seen: Sequence[Seen]) -> Guess:
        """What the decoder makes of smashed data."""
        return Guess(inputs=decoded(self._decoder, seen))

    def _head_of(self, leaked: Leaked) -> keras.Model:
        """A copy, whose statistics may move."""
        assert leaked.head is not None
        return _copy(leaked.head)

    def _train(
        self,
        head: keras.Model,
        x: np.ndarray[Any, Any],
        batch: int,
        seconds: float,
    ) -> None:
        crossing, decoder = Crossing(self._scene), self._decoder
        learner = Learner(decoder.trainable_variables, self.learning_rate)

        def step(x: tf.Tensor, number: tf.Tensor) -> None:
            smashed = crossing.send(head([x], training=True), number)
            with tf.GradientTape() as tape:
                made = decoder(smashed, training=True)
                loss = tf.reduce_mean((made - x) ** 2)
            learner.step(tape, loss)

        step = tf.function(step, autograph=False)
        rng = np.random.default_rng(self._scene.seed)
        done = traced = 0.0
        while done < 1:
            learner.slow_down(done)
            step(x[rng.choice(len(x), batch)], tf.constant(self._clock.steps))
            self._clock.steps += 1
            # The first one is traced, which takes longer than a small share.
            traced = traced or self._clock.running
            late = (self._clock.running - traced) / max(seconds, 1e-9)
            done = max(self._clock.steps / self.steps, late)


class InitialHead(KnownHead):
    """A decoder of the head as it was before training.

    The same as `KnownHead`, for a server that knows how the phone's head was
    born: from a seed that both share, or from published weights. It is why
    head and tail come from a secret.
    """

    name = "initial head"
    paper = KnownHead.paper
    knows = frozenset({"initial head"})

    def _head_of(self, leaked: Leaked) -> keras.Model:
        assert leaked.initial_head is not None
        return _copy(leaked.initial_head)


def _copy(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy
