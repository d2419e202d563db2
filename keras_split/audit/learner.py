"""Weights, and what moves them."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


class Learner:
    """Moves weights down a loss with Adam.

    Args:
        weights: Variables; of none, nothing is moved.
        rate: Of Adam.
        beta_1: Of Adam.
    """

    def __init__(
        self, weights: Sequence[Any], rate: float, beta_1: float = 0.9
    ) -> None:
        self._weights, self._rate = list(weights), rate
        self._optimizer = keras.optimizers.Adam(rate, beta_1=beta_1)
        self._optimizer.build(self._weights)

    def slow_down(self, done: float) -> None:
        """Lets the rate fall along a cosine, to 0 where `done` is 1."""
        part = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        self._optimizer.learning_rate = self._rate * part

    def step(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        """Moves them once; the tape watched how the loss came about."""
        if self._weights:
            grads = tape.gradient(loss, self._weights)
            self._optimizer.apply(grads, self._weights)
