"""Turns the messages of a session into what a server sees."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.audit.seen import Seen
from keras_split.client.tap import SessionTap
from keras_split.compression.cut_codec import CutCodec
from keras_split.compression.tensors import CutTensor
from keras_split.protocol.contract import Contract
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import SmashedGrad


class Recorder(SessionTap):
    """Turns the messages of a session into what a server sees.

    It listens on the phone's side of the wire, to the very messages that
    leave, so what it hears is what any server would have to work with.

    Args:
        contract: What the model was cut with, twice.
        saw: Is told of each step, once it is taken.
    """

    def __init__(self, contract: Contract, saw: Callable[[Seen], None]) -> None:
        forward = contract.quantization.activations
        back = contract.quantization.gradients
        self._saw = saw
        self._smashed = CutCodec(contract.smashed, forward)
        self._features = CutCodec(contract.features, forward)
        self._features_grad = CutCodec(contract.features, back)
        self._smashed_grad = CutCodec(contract.smashed, back)
        self._sent: Forward | None = None
        self._answer: Features | None = None

    def received(self, message: Message, reply: Message) -> None:
        """A message, and what the server answered."""
        if isinstance(message, Forward) and isinstance(reply, Features):
            self._sent, self._answer = message, reply
        # A `Committed` behind an early answer brings no numbers.
        if isinstance(message, Backward) and isinstance(reply, SmashedGrad):
            self._saw(self._step(message, reply))

    def _step(self, message: Backward, reply: SmashedGrad) -> Seen:
        sent, answer = self._sent, self._answer
        assert sent is not None and answer is not None
        smashed, at_smashed = _read(self._smashed, sent.tensors)
        features, at_features = _read(self._features, answer.tensors)
        return Seen(
            message.step,
            smashed,
            features,
            _read(self._features_grad, message.tensors, at_features)[0],
            _read(self._smashed_grad, reply.tensors, at_smashed)[0],
            message.learning_rate,
        )


def _read(
    codec: CutCodec,
    tensors: list[CutTensor],
    positions: list[tf.Tensor | None] | None = None,
) -> tuple[list[np.ndarray[Any, Any]], list[tf.Tensor | None]]:
    """What tensors stand for, and where their values are, see `topk`."""
    if not tensors:
        return [], []
    parts = [tf.convert_to_tensor(part) for part in codec.unwrap(tensors)]
    known = positions or []
    where = codec.positions(parts) if positions is None else known
    return [t.numpy() for t in codec.dequantize(parts, known)], where
