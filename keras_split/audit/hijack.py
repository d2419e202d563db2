"""FSHA: gradients that make the phone's head an encoder of the server's."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_split.audit.attack import Attack
from keras_split.audit.attack import Guess
from keras_split.audit.attack import Spent
from keras_split.audit.chance import drawn_from
from keras_split.audit.clock import Clock
from keras_split.audit.critic import gradient_penalty
from keras_split.audit.critic import make_critic
from keras_split.audit.crossing import Crossing
from keras_split.audit.decoder import decoded
from keras_split.audit.decoder import decoder_for
from keras_split.audit.scene import Scene
from keras_split.audit.seen import Seen
from keras_split.errors import OptionError
from keras_split.utils import retracing


class Hijack(Attack):
    """A server that trains the phone's head for a purpose of its own.

    It trains an autoencoder on public data, and answers the phone with
    gradients that pull what its head sends towards what the autoencoder's
    encoder makes, until the decoder can read it: the smashed gradient is that
    of a critic that tells the two apart. The body learns from the phone's
    gradients as ever, so the phone's loss falls, and the gradients have the
    norm of honest ones.

    `keras_split.audit.take_over` puts it into a server.

    Args:
        mix: How much of each answer is not an honest gradient, 0 to 1.
        critic_rate: Learning rate of the critic.
        encoder_rate: And of the autoencoder.
        penalty: Of gradients of the critic.

    Raises:
        OptionError: If `mix` is not above 0 and at most 1.
    """

    name = "FSHA"
    paper = (
        "Pasquini, Ateniese and Bernaschi, Unleashing the Tiger: Inference "
        "Attacks on Split Learning, CCS 2021, Eq. 1 to 4, with a Wasserstein "
        "critic; mixed with honest gradients so that the training goes on"
    )

    def __init__(
        self,
        mix: float = 1.0,
        *,
        critic_rate: float = 5e-4,
        encoder_rate: float = 1e-3,
        penalty: float = 10.0,
    ) -> None:
        if not 0 < mix <= 1:
            raise OptionError(
                "Expected mix to be above 0 and at most 1, the part of each "
                f"gradient that is not honest. Received: {mix!r}."
            )
        self.mix = mix
        self._rates = (critic_rate, encoder_rate)
        self._penalty = penalty

    def begin(self, scene: Scene) -> None:
        """A training begins."""
        shapes = [spec.shape for spec in scene.contract.smashed]
        self._scene = scene
        self._clock = Clock()
        self._crossing = Crossing(scene)
        with drawn_from(scene.seed):
            self._pilot = scene.new_head()
            self._critic = make_critic(shapes, 64)
        self._decoder = decoder_for(scene)
        self._rng = np.random.default_rng(scene.seed)
        self._chance = tf.random.Generator.from_seed(scene.seed)
        critic_rate, encoder_rate = self._rates
        self._auto = (
            *self._pilot.trainable_variables,
            *self._decoder.trainable_variables,
        )
        self._encoding = keras.optimizers.Adam(encoder_rate)
        self._judging = keras.optimizers.Adam(critic_rate, beta_1=0.5)
        self._encoding.build(self._auto)
        self._judging.build(self._critic.trainable_variables)
        self._lure = tf.function(
            self._trained, reduce_retracing=True, autograph=False
        )

    def lure(self, smashed: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients that it wants the phone to follow.

        Its networks learn of the batch, too.

        Args:
            smashed: What the phone sent, shape `(batch, ...)`.
        """
        public = self._scene.public.x
        chosen = self._rng.integers(len(public), size=int(smashed[0].shape[0]))
        with self._clock, retracing.expected():
            made: list[tf.Tensor] = self._lure(
                list(smashed),
                tf.constant(public[chosen], tf.float32),
                tf.constant(self._clock.steps),
            )
            self._clock.steps += 1
        return made

    def answers(
        self, honest: Sequence[tf.Tensor], lure: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        """What it sends instead of honest gradients: as large, and mixed."""
        scale = _norm(honest) / tf.maximum(_norm(lure), 1e-20)
        return [
            self.mix * scale * one + (1 - self.mix) * other
            for one, other in zip(lure, honest, strict=True)
        ]

    def spent(self) -> Spent:
        """Of all its networks; a step for each of the phone's."""
        return self._clock.spent

    def guess(self, seen: Sequence[Seen]) -> Guess:
        """What it makes of the examples of some steps."""
        return Guess(inputs=decoded(self._decoder, seen))

    def _trained(
        self, smashed: list[tf.Tensor], public: tf.Tensor, number: tf.Tensor
    ) -> list[tf.Tensor]:
        critic, penalty = self._critic, self._penalty
        with tf.GradientTape() as tape:
            made = self._pilot([public], training=True)
            # As the phone's would come, so that it is these that are alike.
            made = self._crossing.send(made, number)
            back = self._decoder(made, training=True)
            error = tf.reduce_mean((back - public) ** 2)
        self._encoding.apply(tape.gradient(error, self._auto), self._auto)
        with tf.GradientTape() as tape:
            tape.watch(smashed)
            judged = tf.reduce_mean(critic(smashed))
        lure: list[tf.Tensor] = tape.gradient(judged, smashed)
        with tf.GradientTape() as tape:
            # Low for what the pilot makes, high for what the phone sends.
            loss = tf.reduce_mean(critic(made)) - tf.reduce_mean(
                critic(smashed)
            )
            part = self._chance.uniform(tf.shape(public)[:1])
            loss += penalty * gradient_penalty(critic, smashed, made, part)
        weights = critic.trainable_variables
        self._judging.apply(tape.gradient(loss, weights), weights)
        return lure


def _norm(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.sqrt(tf.add_n([tf.reduce_sum(t * t) for t in tensors]))
