"""Simulator with adversarial regularization."""

from typing import Any

import tensorflow as tf

from keras_split.audit.chance import drawn_from
from keras_split.audit.critic import gradient_penalty
from keras_split.audit.critic import make_critic
from keras_split.audit.learner import Learner
from keras_split.audit.scene import Scene
from keras_split.audit.simulator import Simulator


class SDAR(Simulator):
    """A simulator whose smashed data are made to look like the phone's.

    A discriminator tells simulated smashed data from the phone's, and the
    simulated head learns to deceive it; another one may tell decoded private
    data from public inputs, and the decoder learns to deceive that. In the U
    shape a server has no labels, so neither is conditional on them. It guesses
    labels with its tail, from the features.

    Unlike in the paper the discriminator of smashed data is a Wasserstein
    critic with gradient penalty, which aligns within hundreds of steps what
    takes tens of thousands with the paper's own.

    Args:
        lambda_z: Weight of the critic in the head's loss.
        lambda_x: Weight of the discriminator in the decoder's; 0 leaves it
            out. Whether it helps in so few steps was not measured.
        penalty: Weight of the gradient penalty.
        critic_rate: Of Adam for critic and discriminator, with `beta_1` 0.5.
        critic_steps: Of the critic in each own step.
        critic_width: Channels of its first layer.
        **kwargs: As for `Simulator`.
    """

    name = "SDAR"
    paper = (
        "Zhu et al., Passive Inference Attacks on Split Learning via "
        "Adversarial Regularization, NDSS 2025, arXiv 2310.10483, with a "
        "critic after Gulrajani et al. 2017 and without labels (U shape)"
    )

    def __init__(
        self,
        *,
        lambda_z: float = 1.0,
        lambda_x: float = 0.0,
        penalty: float = 10.0,
        critic_rate: float = 1e-3,
        critic_steps: int = 1,
        critic_width: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.lambda_z = lambda_z
        self.lambda_x = lambda_x
        self.penalty = penalty
        self.critic_rate = critic_rate
        self.critic_steps = critic_steps
        self.critic_width = critic_width

    def begin(self, scene: Scene) -> None:
        """Makes networks like the phone's, and those that judge them."""
        super().begin(scene)
        shapes = [spec.shape for spec in scene.contract.smashed]
        example = scene.public.x.shape[1:]
        with drawn_from(scene.seed):
            self._critic = make_critic(shapes, self.critic_width)
            self._judge = make_critic([example], self.critic_width)
        weights = self._critic.trainable_variables
        self._criticizes = Learner(weights, self.critic_rate, 0.5)
        weights = self._judge.trainable_variables
        self._judges = Learner(weights, self.critic_rate, 0.5)
        self._learners += [self._criticizes, self._judges]

    def _imitation_loss(self, made: list[tf.Tensor]) -> tf.Tensor:
        return -self.lambda_z * tf.reduce_mean(self._critic(made))

    def _learn_to_tell(
        self, made: list[tf.Tensor], real: list[tf.Tensor]
    ) -> None:
        for _ in range(self.critic_steps):
            part = self._chance.uniform(tf.shape(made[0])[:1])
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self._critic(made))
                loss -= tf.reduce_mean(self._critic(real))
                loss += self.penalty * gradient_penalty(
                    self._critic, real, made, part
                )
            self._criticizes.step(tape, loss)

    def _decoding_loss(self, x: tf.Tensor, real: list[tf.Tensor]) -> tf.Tensor:
        if not self.lambda_x:
            return tf.zeros(())
        made = self._decoder(real, training=False)
        with tf.GradientTape() as tape:
            loss = _crossentropy(self._judge([x]), 1.0)
            loss += _crossentropy(self._judge([tf.stop_gradient(made)]), 0.0)
        self._judges.step(tape, loss)
        return self.lambda_x * _crossentropy(self._judge([made]), 1.0)


def _crossentropy(logits: tf.Tensor, real: float) -> tf.Tensor:
    return tf.reduce_mean(
        tf.nn.sigmoid_cross_entropy_with_logits(
            tf.fill(tf.shape(logits), real), logits
        )
    )
