"""A server somewhere else, spoken with in the middle of a client's graph."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.compression.cut import ClientCuts
from keras_split.compression.cut_codec import CutCodec
from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.protocol.validation import check_finite
from keras_split.protocol.validation import not_finite
from keras_split.training.exchange import Exchange
from keras_split.training.host_calls import HostCalls


class Exchanges:
    """A `RemoteBody` that is reached by messages, in host callbacks.

    Its other methods are the exchanges of `predict`, of a model that is cut
    once, and of microbatches, whose messages leave and come apart.

    Args:
        cuts: What is sent, and what comes.
        strategy: Gives what speaks with the server, for each message anew.
        calls: Calls it in the middle of a graph; by default its own.

    Attributes:
        calls: The same.
    """

    def __init__(
        self,
        cuts: ClientCuts,
        strategy: Callable[[], Exchange],
        calls: HostCalls | None = None,
    ) -> None:
        self.calls = calls or HostCalls()
        self._cuts = cuts
        self._strategy = strategy

    # -- inside the graph --------------------------------------------------

    def forward(
        self, parts: list[tf.Tensor], smashed_grad: bool = True
    ) -> "ExchangedForward":
        """See `RemoteBody`."""

        def exchange(*arrays: Any) -> list[Any]:
            smashed = _finite(self._cuts.smashed, arrays)
            strategy = self._expecting(smashed_grad)
            return self._features(*strategy.forward(smashed))

        penalty, *made = self._features_for(exchange, parts)
        return ExchangedForward(self, penalty, made, smashed_grad)

    def infer(self, parts: list[tf.Tensor]) -> list[tf.Tensor]:
        """Penalty, and parts of the features, in inference mode."""
        return self._features_for(self._infer, parts)

    def backward(
        self,
        rate: tf.Tensor,
        loss: tf.Tensor,
        parts: list[tf.Tensor],
        smashed_grad: bool = True,
    ) -> "ExchangedBackward":
        """See `BodyForward`."""

        def exchange(rate: Any, loss: Any, *arrays: Any) -> list[Any]:
            tensors = self._features_grad(loss, arrays)
            grads = self._strategy().backward(tensors, float(rate))
            return self._received(grads, smashed_grad)

        inputs = [rate, loss, *parts]
        return self._answered(exchange, inputs, smashed_grad)

    def commit(self, number: tf.Tensor, received: Sequence[tf.Tensor]) -> Any:
        """See `BodyBackward`; `received` came when the server answered."""
        return self.calls(self._commit, [number], [tf.float32], received)[0]

    def labeled_step(
        self,
        rate: tf.Tensor,
        parts: list[tf.Tensor],
        labels: list[tf.Tensor],
        sample_weights: list[tf.Tensor],
        smashed_grad: bool = True,
    ) -> tuple[tf.Tensor, list[tf.Tensor], "ExchangedBackward"]:
        """The whole step of a model that is cut once.

        Args:
            rate: The learning rate.
            parts: Of the smashed data.
            labels: Any number of tensors.
            sample_weights: Likewise.
            smashed_grad: Whether the head needs gradients.

        Returns:
            The loss, parts of the predictions, and the end of the step.
        """
        first, second = len(parts), len(parts) + len(labels)

        def exchange(rate: Any, *arrays: Any) -> list[Any]:
            return self._labeled_step(
                float(rate),
                arrays[:first],
                arrays[first:second],
                arrays[second:],
                smashed_grad,
            )

        features = self._cuts.features.part_dtypes
        grads = self._cuts.smashed_grad.part_dtypes if smashed_grad else []
        loss, *made = self.calls(
            exchange,
            [rate, *parts, *labels, *sample_weights],
            [tf.float32, *features, *grads],
        )
        loss.set_shape(())
        count = len(features)
        backward = ExchangedBackward(self, made[count:], [loss])
        return loss, made[:count], backward

    def send_forward(
        self,
        index: int,
        count: int,
        size: tf.Tensor,
        parts: list[tf.Tensor],
        after: Sequence[tf.Tensor],
        smashed_grad: bool = True,
    ) -> list[tf.Tensor]:
        """Sends microbatch `index` of `count`, after others were dealt with.

        Args:
            index: Its number.
            count: How many make the batch.
            size: Examples in the whole batch.
            parts: Its smashed data.
            after: What must have happened before.
            smashed_grad: Whether the head needs gradients.

        Returns:
            What the next exchange must wait for.
        """

        def exchange(size: Any, *arrays: Any) -> list[Any]:
            smashed = _finite(self._cuts.smashed, arrays)
            strategy = self._expecting(smashed_grad)
            strategy.send_forward(smashed, index, count, int(size))
            return [np.float32(0)]

        return self.calls(exchange, [size, *parts], [tf.float32], after)

    def receive_features(self, after: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Penalty, and parts of the features, of the next microbatch."""

        def exchange() -> list[Any]:
            return self._features(*self._strategy().receive_features())

        return self._features_for(exchange, [], after)

    def send_backward(
        self,
        rate: tf.Tensor,
        loss: tf.Tensor,
        parts: list[tf.Tensor],
        after: Sequence[tf.Tensor],
    ) -> list[tf.Tensor]:
        """Sends gradients of the features of the next microbatch."""

        def exchange(rate: Any, loss: Any, *arrays: Any) -> list[Any]:
            tensors = self._features_grad(loss, arrays)
            self._strategy().send_backward(tensors, float(rate))
            return [np.float32(0)]

        inputs = [rate, loss, *parts]
        return self.calls(exchange, inputs, [tf.float32], after)

    def receive_smashed_grad(
        self, after: Sequence[tf.Tensor], smashed_grad: bool = True
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Parts of the smashed data's gradients of the next microbatch.

        Args:
            after: What must have happened before.
            smashed_grad: Whether the head needs them.

        Returns:
            They, if needed, and what the next exchange must wait for.
        """

        def exchange() -> list[Any]:
            grads = self._strategy().receive_smashed_grad()
            return self._received(grads, smashed_grad)

        made = self._answered(exchange, [], smashed_grad, after)
        return made.parts, made.received

    def _features_for(
        self,
        function: Callable[..., list[Any]],
        parts: list[tf.Tensor],
        after: Sequence[tf.Tensor] = (),
    ) -> list[tf.Tensor]:
        dtypes = [tf.float32, *self._cuts.features.part_dtypes]
        made = self.calls(function, parts, dtypes, after)
        made[0].set_shape(())
        return made

    def _answered(
        self,
        function: Callable[..., list[Any]],
        inputs: list[tf.Tensor],
        smashed_grad: bool,
        after: Sequence[tf.Tensor] = (),
    ) -> "ExchangedBackward":
        """The end of a step, whose answer has gradients if they are needed."""
        dtypes = self._cuts.smashed_grad.part_dtypes
        if not smashed_grad:
            dtypes = [tf.float32]  # there must be something to wait for
        made = self.calls(function, inputs, dtypes, after)
        return ExchangedBackward(self, made if smashed_grad else [], made)

    # -- on the host -------------------------------------------------------

    def _expecting(self, smashed_grad: bool) -> Exchange:
        """What speaks with the server, told what its answers must have."""
        strategy = self._strategy()
        strategy.expects(smashed_grad=smashed_grad)
        return strategy

    def _received(
        self, grads: list[CutTensor], smashed_grad: bool
    ) -> list[Any]:
        """Parts of gradients that came; something else if nobody needs any.

        A server that does not know of frozen heads sends them all the same.
        """
        if not smashed_grad:
            return [np.float32(0)]
        specs = self._cuts.smashed_grad.specs
        if len(grads) != len(specs):
            raise ProtocolError(
                "Expected gradients of the smashed data, of "
                f"{', '.join(repr(spec.name) for spec in specs)}, for the head "
                f"has weights to train. Received: {len(grads)} tensors. Say "
                "so in the step's first message, without no_smashed_grad; "
                "after thawing layers, compile again.",
                "shape",
            )
        return self._cuts.smashed_grad.unwrap(grads)

    def _infer(self, *parts: Any) -> list[Any]:
        smashed = _finite(self._cuts.smashed, parts)
        return self._features(*self._strategy().infer(smashed))

    def _features(self, tensors: list[CutTensor], penalty: float) -> list[Any]:
        return [np.float32(penalty), *self._cuts.features.unwrap(tensors)]

    def _features_grad(
        self, loss: Any, parts: Sequence[Any]
    ) -> list[CutTensor]:
        if not np.isfinite(loss):
            raise not_finite("loss")
        return _finite(self._cuts.features_grad, parts)

    def _commit(self, number: Any) -> list[Any]:
        self._strategy().committed()
        if not np.isfinite(number):
            raise not_finite("step of the phone's half")
        return [number]

    def _labeled_step(
        self,
        rate: float,
        parts: Sequence[Any],
        labels: Sequence[Any],
        sample_weights: Sequence[Any],
        smashed_grad: bool,
    ) -> list[Any]:
        smashed = _finite(self._cuts.smashed, parts)
        reply = self._expecting(smashed_grad).labeled_step(
            smashed,
            _plain("labels", labels),
            _plain("sample_weights", sample_weights),
            rate,
        )
        if not np.isfinite(reply.loss):
            raise not_finite("loss")
        made = [
            np.float32(reply.loss),
            *self._cuts.features.unwrap(reply.predictions),
        ]
        if smashed_grad:
            made += self._received(reply.tensors, smashed_grad)
        return made


@dataclass(frozen=True)
class ExchangedForward:
    """See `keras_split.training.remote_body.BodyForward`."""

    exchanges: Exchanges
    penalty: tf.Tensor
    parts: list[tf.Tensor]
    smashed_grad: bool

    def backward(
        self, rate: tf.Tensor, loss: tf.Tensor, parts: list[tf.Tensor]
    ) -> "ExchangedBackward":
        """See `BodyForward`; the server knows which step it is in."""
        return self.exchanges.backward(rate, loss, parts, self.smashed_grad)


@dataclass(frozen=True)
class ExchangedBackward:
    """See `keras_split.training.remote_body.BodyBackward`.

    Attributes:
        exchanges: Brought it.
        parts: Of the gradients of the smashed data, if they are needed.
        received: Is there when the server has answered.
    """

    exchanges: Exchanges
    parts: list[tf.Tensor]
    received: list[tf.Tensor]

    def commit(self, number: tf.Tensor) -> Any:
        """See `BodyBackward`."""
        return self.exchanges.commit(number, self.received)


def _plain(name: str, arrays: Sequence[Any]) -> list[CutTensor]:
    return [
        CutTensor(f"{name}_{i}", array.shape, array)
        for i, array in enumerate(map(np.asarray, arrays))
    ]


def _finite(codec: CutCodec, parts: Sequence[Any]) -> list[CutTensor]:
    """What may be sent of the parts that a graph gave."""
    shared = len(codec.shared.specs)
    return check_finite(codec.wrap(parts), codec.rule, shared)
