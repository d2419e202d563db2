"""The body, as the graph of a client's step sees it.

Each part of a step returns what the next one needs: nothing is kept between
two of them. `keras_split.training.exchanges` speaks with a server in the middle
of the graph, `keras_split.training.in_graph` takes the body into it.
"""

from typing import Any
from typing import Protocol

import tensorflow as tf


class RemoteBody(Protocol):
    """Somewhere a body trains; a step with it begins here."""

    def forward(
        self, parts: list[tf.Tensor], smashed_grad: bool = True
    ) -> "BodyForward":
        """Runs the body forward.

        Args:
            parts: Of the smashed data.
            smashed_grad: Whether the head needs gradients of them.
        """

    def infer(self, parts: list[tf.Tensor]) -> list[tf.Tensor]:
        """Penalty, and parts of the features, in inference mode.

        Args:
            parts: Of the smashed data.
        """


class BodyForward(Protocol):
    """The body is in the middle of a step."""

    @property
    def penalty(self) -> tf.Tensor:
        """The body's regularization loss, shape `()`."""

    @property
    def parts(self) -> list[tf.Tensor]:
        """Of the features."""

    def backward(
        self, rate: tf.Tensor, loss: tf.Tensor, parts: list[tf.Tensor]
    ) -> "BodyBackward":
        """Runs it backward.

        Args:
            rate: The learning rate.
            loss: A step whose loss is not finite is not taken.
            parts: Of the gradients of the features.
        """


class BodyBackward(Protocol):
    """The body has taken its step, or will have."""

    @property
    def parts(self) -> list[tf.Tensor]:
        """Of the gradients of the smashed data; none if not needed."""

    def commit(self, number: tf.Tensor) -> Any:
        """What the commit of head and tail must wait for.

        Args:
            number: Finite if all is that they would commit.
        """
