"""The server as the graph of a client's step sees it: host callbacks."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from keras_split.compression.cut import ClientCuts
from keras_split.compression.tensors import CutTensor
from keras_split.protocol.validation import check_finite
from keras_split.protocol.validation import not_finite


class RemoteBody(Protocol):
    """The server, as the graph of a client's step sees it."""

    def ask_forward(self, parts: list[tf.Tensor]) -> list[tf.Tensor]:
        """Parts of the smashed data for the penalty, parts of the features."""

    def ask_backward(
        self, rate: tf.Tensor, loss: tf.Tensor, parts: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Parts of the features' gradients for those of the smashed data's.

        Args:
            rate: The learning rate.
            loss: A step whose loss is not finite is not taken.
            parts: Gradients of the features.
        """

    def settle(self, number: tf.Tensor, received: Sequence[tf.Tensor]) -> Any:
        """What a commit must wait for.

        Args:
            number: Finite if all is that would be committed.
            received: What the server answered.
        """


class Exchanges:
    """A `RemoteBody` that calls a strategy in the middle of the graph.

    Its other methods are the exchanges of `predict`, of a model that is cut
    once, and of microbatches, whose messages leave and come apart.

    Args:
        cuts: What is sent, and what comes.
        strategy: Called for the `SplitStrategy` of the moment.

    Attributes:
        failure: What a callback raised last; TensorFlow makes an error of
            its own of it.
    """

    def __init__(self, cuts: ClientCuts, strategy: Callable[[], Any]) -> None:
        self._cuts = cuts
        self._strategy = strategy
        self.failure: Exception | None = None

    # -- inside the graph --------------------------------------------------

    def ask_infer(self, parts: list[tf.Tensor]) -> list[tf.Tensor]:
        """As `ask_forward`, in inference mode."""
        features = self._cuts.features.part_dtypes
        made = self._call(self._infer, parts, [tf.float32, *features])
        made[0].set_shape(())
        return made

    def ask_forward(self, parts: list[tf.Tensor]) -> list[tf.Tensor]:
        """See `RemoteBody`."""
        features = self._cuts.features.part_dtypes
        return self._call(self._forward, parts, [tf.float32, *features])

    def ask_backward(
        self, rate: tf.Tensor, loss: tf.Tensor, parts: list[tf.Tensor]
    ) -> list[tf.Tensor]:
        """See `RemoteBody`."""
        return self._call(
            self._backward,
            [rate, loss, *parts],
            self._cuts.smashed_grad.part_dtypes,
        )

    def settle(self, number: tf.Tensor, received: Sequence[tf.Tensor]) -> Any:
        """See `RemoteBody`."""
        return self._call(self._settle, [number], [tf.float32], received)[0]

    def ask_labeled(
        self,
        rate: tf.Tensor,
        parts: list[tf.Tensor],
        labels: list[tf.Tensor],
        weights: list[tf.Tensor],
    ) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
        """The step of a model that is cut once.

        Returns:
            Its loss, parts of the predictions, parts of the smashed data's
            gradients.
        """
        first, second = len(parts), len(parts) + len(labels)

        def exchange(rate: Any, *arrays: Any) -> list[Any]:
            return self._labeled(
                float(rate),
                arrays[:first],
                arrays[first:second],
                arrays[second:],
            )

        features = self._cuts.features.part_dtypes
        loss, *made = self._call(
            exchange,
            [rate, *parts, *labels, *weights],
            [tf.float32, *features, *self._cuts.smashed_grad.part_dtypes],
        )
        loss.set_shape(())
        return loss, made[: len(features)], made[len(features) :]

    def send_forward(
        self,
        index: int,
        count: int,
        size: tf.Tensor,
        parts: list[tf.Tensor],
        after: Sequence[tf.Tensor],
    ) -> list[tf.Tensor]:
        """Sends microbatch `index` of `count`, after others were dealt with.

        Args:
            index: Its number.
            count: How many make the batch.
            size: Examples in the whole batch.
            parts: Its smashed data.
            after: What must have happened before.

        Returns:
            What the next exchange must wait for.
        """

        def exchange(size: Any, *arrays: Any) -> list[Any]:
            smashed = check_finite(self._cuts.smashed.wrap(arrays))
            self._strategy().send_forward(smashed, index, count, int(size))
            return [np.float32(0)]

        return self._call(exchange, [size, *parts], [tf.float32], after)

    def receive_features(self, after: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Penalty, and parts of the features, of the next microbatch."""
        features = self._cuts.features.part_dtypes
        made = self._call(
            self._receive_features, [], [tf.float32, *features], after
        )
        made[0].set_shape(())
        return made

    def send_backward(
        self,
        rate: tf.Tensor,
        loss: tf.Tensor,
        parts: list[tf.Tensor],
        after: Sequence[tf.Tensor],
    ) -> list[tf.Tensor]:
        """Sends gradients of the features of the next microbatch."""
        return self._call(
            self._send_backward, [rate, loss, *parts], [tf.float32], after
        )

    def receive_smashed_grad(
        self, after: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        """Parts of the smashed data's gradients of the next microbatch."""
        return self._call(
            self._receive_smashed_grad,
            [],
            self._cuts.smashed_grad.part_dtypes,
            after,
        )

    def _call(
        self,
        function: Callable[..., list[Any]],
        inputs: list[tf.Tensor],
        dtypes: list[tf.DType],
        after: Sequence[tf.Tensor] = (),
    ) -> list[tf.Tensor]:
        def call(*arrays: Any) -> list[Any]:
            try:
                return function(*arrays)
            except Exception as error:
                # TensorFlow turns it into an error of its own; the client
                # model raises this one instead.
                self.failure = error
                raise

        # Eagerly, a list of one comes back as its element.
        with tf.control_dependencies(list(after)):
            made: list[tf.Tensor] = keras.tree.flatten(
                tf.numpy_function(call, inputs, dtypes)
            )
        return made

    # -- on the host -------------------------------------------------------

    def _infer(self, *parts: Any) -> list[Any]:
        smashed = check_finite(self._cuts.smashed.wrap(parts))
        return self._features(*self._strategy().infer(smashed))

    def _forward(self, *parts: Any) -> list[Any]:
        smashed = check_finite(self._cuts.smashed.wrap(parts))
        return self._features(*self._strategy().forward(smashed))

    def _receive_features(self) -> list[Any]:
        return self._features(*self._strategy().receive_features())

    def _features(self, tensors: list[CutTensor], penalty: float) -> list[Any]:
        return [np.float32(penalty), *self._cuts.features.unwrap(tensors)]

    def _backward(self, rate: Any, loss: Any, *parts: Any) -> list[Any]:
        grads = self._strategy().backward(
            self._features_grad(loss, parts), float(rate)
        )
        return self._cuts.smashed_grad.unwrap(grads)

    def _send_backward(self, rate: Any, loss: Any, *parts: Any) -> list[Any]:
        grads = self._features_grad(loss, parts)
        self._strategy().send_backward(grads, float(rate))
        return [np.float32(0)]

    def _features_grad(
        self, loss: Any, parts: Sequence[Any]
    ) -> list[CutTensor]:
        if not np.isfinite(loss):
            raise not_finite("loss")
        return check_finite(self._cuts.features_grad.wrap(parts))

    def _receive_smashed_grad(self) -> list[Any]:
        grads = self._strategy().receive_smashed_grad()
        return self._cuts.smashed_grad.unwrap(grads)

    def _settle(self, number: Any) -> list[Any]:
        self._strategy().committed()
        if not np.isfinite(number):
            raise not_finite("step of the phone's half")
        return [number]

    def _labeled(
        self,
        rate: float,
        parts: Sequence[Any],
        labels: Sequence[Any],
        weights: Sequence[Any],
    ) -> list[Any]:
        smashed = check_finite(self._cuts.smashed.wrap(parts))
        reply = self._strategy().labeled_step(
            smashed,
            _plain("labels", labels),
            _plain("sample_weights", weights),
            rate,
        )
        if not np.isfinite(reply.loss):
            raise not_finite("loss")
        return [
            np.float32(reply.loss),
            *self._cuts.features.unwrap(reply.predictions),
            *self._cuts.smashed_grad.unwrap(reply.tensors),
        ]


def _plain(name: str, arrays: Sequence[Any]) -> list[CutTensor]:
    return [
        CutTensor(f"{name}_{i}", array.shape, array)
        for i, array in enumerate(map(np.asarray, arrays))
    ]
