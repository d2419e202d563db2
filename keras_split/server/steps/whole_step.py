"""A step whose batch travels in one piece."""

import time
from typing import TYPE_CHECKING

from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Committed
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import SmashedGrad
from keras_split.server.steps.step import Early
from keras_split.server.steps.step import Means
from keras_split.server.steps.step import Step
from keras_split.server.steps.step import StepMessage

if TYPE_CHECKING:
    from keras_split.training.in_flight import StepInFlight


class WholeStep(Step):
    """One forward, which waits in memory if it can, and its backward.

    Without memory it is computed anew from its smashed data when its
    gradients come, which a backward that was refused may be followed by, too.

    Args:
        message: Its forward.
        means: What it is taken with.

    Raises:
        ProtocolError: If the smashed data are not what the contract says.
    """

    def __init__(self, message: Forward, means: Means) -> None:
        super().__init__(message.step, means)
        means.guard.smashed(message.tensors)
        self._smashed = message.tensors
        self.examples = message.tensors[0].shape[0]
        self._smashed_grad = not message.no_smashed_grad
        self._waiting: StepInFlight | None = None

    @property
    def holds(self) -> bool:
        """Whether it waits in memory, or another one of its number did."""
        return self.again or self._waiting is not None

    def belongs(self, message: StepMessage) -> bool:
        """Whether it is its backward; a forward begins it anew."""
        return isinstance(message, Backward) and message.microbatch is None

    def answer(self, message: StepMessage, early: Early | None) -> Message:
        """Features of the batch, or gradients of its smashed data."""
        if isinstance(message, Backward):
            return self._backward(message, early if message.early else None)
        assert isinstance(message, Forward)
        return self._forward(message)

    def abandon(self) -> None:
        """Frees what its backward would find in memory."""
        self._means.half.abandon(self._waiting)
        self._waiting = None

    def _forward(self, message: Forward) -> Message:
        began = time.perf_counter()
        features, penalty, self._waiting = self._means.half.forward(
            self._smashed,
            self._means.optimizer,
            early=message.early,
            smashed_grad=self._smashed_grad,
            holder=self._means.account,
            waits=not self.again,
        )
        self.compute_s = time.perf_counter() - began
        try:
            self._means.guard.features(features)
        except BaseException:
            self.abandon()
            raise
        return Features(self.number, features, penalty)

    def _backward(self, message: Backward, early: Early | None) -> Message:
        guard, number = self._means.guard, self.number
        guard.features_grad(message, self._smashed, self._smashed_grad)
        began = time.perf_counter()
        tensors = self._means.half.backward(
            self._waiting,
            self._smashed,
            guard.clipped(message.tensors),
            self._means.optimizer,
            message.learning_rate,
            early and (lambda made: early(SmashedGrad(number, made))),
            smashed_grad=self._smashed_grad,
        )
        self.compute_s += time.perf_counter() - began
        self.replies = [SmashedGrad(number, tensors)]
        self.done = True
        return Committed(number) if early else self.replies[0]
