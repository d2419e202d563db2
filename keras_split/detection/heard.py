"""What crossed in one step, as far as a check needs it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_split.client.tap import SessionTap
from keras_split.compression.rules import Rule
from keras_split.compression.tensors import CutTensor
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import SmashedGrad

_Array = np.ndarray[Any, Any]


class Heard(SessionTap):
    """Keeps the gradients that crossed in a step.

    Attributes:
        step: Number of the step; -1 if none was taken.
        features_grad: Gradients of the features as the phone sent them,
            defenses and quantization included.
        smashed_grad: Gradients of the smashed data as they came.
    """

    def __init__(self) -> None:
        self.step = -1
        self.features_grad: list[CutTensor] = []
        self.smashed_grad: list[CutTensor] = []

    def received(self, message: Message, reply: Message) -> None:
        """See `SessionTap`."""
        if isinstance(message, Backward) and isinstance(reply, SmashedGrad):
            self.step = message.step
            self.features_grad = message.tensors
            self.smashed_grad = reply.tensors


def flat(tensors: Sequence[CutTensor], rule: Rule) -> _Array:
    """All numbers that tensors stand for, one behind the other, float64."""
    return np.concatenate(
        [
            rule.format.values(
                tensor.codes, tensor.scales, rule, tensor.shape[1:]
            ).reshape(-1)
            for tensor in tensors
        ],
        dtype=np.float64,
    )
