"""A body somewhere else, which a client's graph reaches by messages."""

import functools
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol

import numpy as np
import tensorflow as tf

from keras_split.compression.tensors import CutTensor
from keras_split.protocol.messages import LabeledResult
from keras_split.protocol.validation import check_finite
from keras_split.protocol.validation import not_finite
from keras_split.training.host_calls import HostCalls
from keras_split.training.step_graph import CutCodecs


class StepMessages(Protocol):
    """Who speaks with the server, as `keras_split.SplitStrategy` does."""

    def forward(
        self, smashed: list[CutTensor]
    ) -> tuple[list[CutTensor], float]:
        """Smashed data for features and the body's penalty."""

    def backward(
        self, features_grad: list[CutTensor], learning_rate: float
    ) -> list[CutTensor]:
        """Gradients of the features for those of the smashed data."""

    def committed(self) -> None:
        """Waits until the server has taken the step."""

    def labeled_step(
        self,
        smashed: list[CutTensor],
        labels: list[CutTensor],
        sample_weights: list[CutTensor],
        learning_rate: float,
    ) -> LabeledResult:
        """The whole step of a model that is cut once."""

    def infer(self, smashed: list[CutTensor]) -> tuple[list[CutTensor], float]:
        """Features in inference mode, and the body's penalty."""


class MessagedBody:
    """Speaks with a server in host callbacks of a client's graph.

    Args:
        messages: Returns who speaks with it.
        cut_codecs: The tensors that cross, as the client sees them.
        calls: Calls it from the graph.
    """

    def __init__(
        self,
        messages: Callable[[], StepMessages],
        cut_codecs: CutCodecs,
        calls: HostCalls,
    ) -> None:
        self._messages = messages
        self._cut_codecs = cut_codecs
        self._calls = calls

    def forward(self, parts: list[tf.Tensor]) -> "MessagedForward":
        """See `RemoteBody`."""
        dtypes = [tf.float32, *self._cut_codecs.features.part_dtypes]
        penalty, *made = self._calls(self._send_forward, parts, dtypes)
        penalty.set_shape(())
        return MessagedForward(self, penalty, made)

    def backward(
        self, rate: tf.Tensor, loss: tf.Tensor, parts: list[tf.Tensor]
    ) -> "MessagedBackward":
        """See `BodyForward`."""
        made = self._calls(
            self._send_backward,
            [rate, loss, *parts],
            self._cut_codecs.smashed_grad.part_dtypes,
        )
        return MessagedBackward(self, made)

    def commit(self, number: tf.Tensor, received: Sequence[tf.Tensor]) -> Any:
        """See `BodyBackward`; `received` is what the server answered."""
        return self._calls(self._commit, [number], [tf.float32], received)[0]

    def labeled_step(
        self,
        rate: tf.Tensor,
        parts: list[tf.Tensor],
        labels: list[tf.Tensor],
        sample_weights: list[tf.Tensor],
    ) -> tuple[tf.Tensor, list[tf.Tensor], "MessagedBackward"]:
        """The whole step of a model that is cut once.

        Args:
            rate: The learning rate.
            parts: Of the smashed data.
            labels: Any number of tensors.
            sample_weights: Likewise.

        Returns:
            The loss, parts of the predictions, and the end of the step.
        """
        predictions = self._cut_codecs.features.part_dtypes
        send = functools.partial(
            self._send_labeled_step, len(parts), len(labels)
        )
        loss, *made = self._calls(
            send,
            [rate, *parts, *labels, *sample_weights],
            [
                tf.float32,
                *predictions,
                *self._cut_codecs.smashed_grad.part_dtypes,
            ],
        )
        loss.set_shape(())
        count = len(predictions)
        return loss, made[:count], MessagedBackward(self, made[count:])

    def infer(
        self, parts: list[tf.Tensor]
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Parts of the features in inference mode, and the penalty."""
        dtypes = [tf.float32, *self._cut_codecs.features.part_dtypes]
        penalty, *made = self._calls(self._send_infer, parts, dtypes)
        penalty.set_shape(())
        return made, penalty

    # -- host callbacks ----------------------------------------------------

    def _send_forward(self, *parts: Any) -> list[Any]:
        smashed = check_finite(self._cut_codecs.smashed.wrap(parts))
        features, penalty = self._messages().forward(smashed)
        return [
            np.float32(penalty),
            *self._cut_codecs.features.unwrap(features),
        ]

    def _send_backward(self, rate: Any, loss: Any, *parts: Any) -> list[Any]:
        if not np.isfinite(loss):
            raise not_finite("loss")
        tensors = check_finite(self._cut_codecs.features_grad.wrap(parts))
        grads = self._messages().backward(tensors, float(rate))
        return self._cut_codecs.smashed_grad.unwrap(grads)

    def _commit(self, number: Any) -> list[Any]:
        self._messages().committed()
        if not np.isfinite(number):
            raise not_finite("step of the phone's half")
        return [number]

    def _send_labeled_step(
        self, parts: int, labels: int, rate: Any, *arrays: Any
    ) -> list[Any]:
        smashed = check_finite(self._cut_codecs.smashed.wrap(arrays[:parts]))
        reply = self._messages().labeled_step(
            smashed,
            _plain("labels", arrays[parts : parts + labels]),
            _plain("sample_weights", arrays[parts + labels :]),
            float(rate),
        )
        if not np.isfinite(reply.loss):
            raise not_finite("loss")
        return [
            np.float32(reply.loss),
            *self._cut_codecs.features.unwrap(reply.predictions),
            *self._cut_codecs.smashed_grad.unwrap(reply.tensors),
        ]

    def _send_infer(self, *parts: Any) -> list[Any]:
        smashed = check_finite(self._cut_codecs.smashed.wrap(parts))
        features, penalty = self._messages().infer(smashed)
        return [
            np.float32(penalty),
            *self._cut_codecs.features.unwrap(features),
        ]


@dataclass(frozen=True)
class MessagedForward:
    """See `keras_split.training.remote_body.BodyForward`."""

    body: MessagedBody
    penalty: tf.Tensor
    parts: list[tf.Tensor]

    def backward(
        self, rate: tf.Tensor, loss: tf.Tensor, parts: list[tf.Tensor]
    ) -> "MessagedBackward":
        """See `BodyForward`; the server knows which step it is in."""
        return self.body.backward(rate, loss, parts)


@dataclass(frozen=True)
class MessagedBackward:
    """See `keras_split.training.remote_body.BodyBackward`."""

    body: MessagedBody
    parts: list[tf.Tensor]

    def commit(self, number: tf.Tensor) -> Any:
        """See `BodyBackward`."""
        return self.body.commit(number, self.parts)


def _plain(name: str, arrays: Sequence[Any]) -> list[CutTensor]:
    return [
        CutTensor(f"{name}_{i}", array.shape, array)
        for i, array in enumerate(map(np.asarray, arrays))
    ]
