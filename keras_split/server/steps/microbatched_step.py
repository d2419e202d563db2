"""A step whose batch travels in microbatches."""

import contextlib
import time
from collections.abc import Iterator

from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.protocol.messages import MAX_MICROBATCHES
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Microbatch
from keras_split.protocol.messages import SmashedGrad
from keras_split.server.guards import Guard
from keras_split.server.steps.step import Early
from keras_split.server.steps.step import Means
from keras_split.server.steps.step import Step
from keras_split.server.steps.step import StepMessage
from keras_split.utils.counted import counted


class MicrobatchedStep(Step):
    """The microbatches of one attempt at a step; the last one commits it.

    Forwards come in the order of the microbatches, and so do backwards. One
    that was answered already gets the same answer. If one cannot be answered
    all are given up: their client sends them again.

    Args:
        message: The first forward.
        means: What it is taken with.

    Raises:
        ProtocolError: If the microbatch is none that can be.
    """

    def __init__(self, message: Forward, means: Means) -> None:
        super().__init__(message.step, means)
        assert message.microbatch is not None
        check(message.microbatch, means.guard)
        self._first = message.microbatch
        self.examples = message.microbatch.batch
        self._given_up = False
        self._smashed: list[list[CutTensor]] = []
        self._features: list[Features] = []
        self._smashed_grad = not message.no_smashed_grad
        self._body = means.half.microbatches(
            means.optimizer, means.account, smashed_grad=self._smashed_grad
        )

    @property
    def waits(self) -> bool:
        """Whether there is more to come."""
        return not (self.done or self._given_up)

    def belongs(self, message: StepMessage) -> bool:
        """Whether a message is about this attempt."""
        given = getattr(message, "microbatch", None)
        if given is None or self._given_up:
            return False
        ours = self._first
        if given.attempt < ours.attempt:
            raise ProtocolError(
                f"Expected attempt {ours.attempt} at step {self.number}. "
                f"Received: a message of attempt {given.attempt}, which "
                "its client has given up.",
                "order",
            )
        return (given.count, given.batch, given.attempt) == (
            ours.count,
            ours.batch,
            ours.attempt,
        )

    def answer(self, message: StepMessage, early: Early | None) -> Message:
        """Features of a microbatch, or gradients of its smashed data."""
        assert isinstance(message, Forward | Backward)
        assert message.microbatch is not None
        check(message.microbatch, self._means.guard)
        index = message.microbatch.index
        if isinstance(message, Forward):
            with self._all_or_nothing():
                return self._forward(index, message)
        if index < len(self.replies):
            return self.replies[index]
        with self._all_or_nothing():
            return self._backward(index, message)

    def abandon(self) -> None:
        """Gives all of them up."""
        self._given_up = True
        self._body.abandon()

    def _forward(self, index: int, message: Forward) -> Message:
        smashed = message.tensors
        self._means.guard.smashed(smashed)
        if index < len(self._features):
            return self._features[index]
        self._check_turn("forward", index, len(self._features))
        self._check_alike(message)
        self._check_examples(smashed)
        tensors, penalty = self._body.forward(smashed)
        self._means.guard.features(tensors)
        self._smashed.append(smashed)
        self._features.append(Features(self.number, tensors, penalty))
        return self._features[index]

    def _backward(self, index: int, message: Backward) -> Message:
        self._check_turn("backward", index, len(self.replies))
        if index >= len(self._features):
            raise ProtocolError(
                f"Expected the forward of microbatch {index} of step "
                f"{self.number} first. Received: its backward.",
                "order",
            )
        smashed = self._smashed[index]
        examples = smashed[0].shape[0]
        share = examples / self._first.batch
        guard, last = self._means.guard, index == self._first.count - 1
        guard.features_grad(message, smashed, self._smashed_grad)
        tensors = self._body.backward(
            index,
            smashed,
            guard.clipped(message.tensors, share),
            message.learning_rate,
            share,
            last=last,
        )
        self.replies.append(SmashedGrad(self.number, tensors))
        self.done = last
        return self.replies[index]

    @contextlib.contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Gives up all of them if one is not answered."""
        began = time.perf_counter()
        try:
            yield
        except BaseException:
            self.abandon()
            raise
        self.compute_s += time.perf_counter() - began

    def _check_turn(self, what: str, index: int, expected: int) -> None:
        if index != expected:
            raise ProtocolError(
                f"Expected the {what} of microbatch {expected} of step "
                f"{self.number}. Received: that of {index}. Microbatches come "
                "one after the other.",
                "order",
            )

    def _check_alike(self, message: Forward) -> None:
        if message.no_smashed_grad == self._smashed_grad:
            raise ProtocolError(
                "Expected the same no_smashed_grad in every microbatch of step "
                f"{self.number}. Received: {message.no_smashed_grad} after "
                f"{not message.no_smashed_grad}.",
                "microbatches",
            )

    def _check_examples(self, smashed: list[CutTensor]) -> None:
        known = sum(tensors[0].shape[0] for tensors in self._smashed)
        count, batch = self._first.count, self._first.batch
        here = known + smashed[0].shape[0]
        last = len(self._smashed) == count - 1
        if here > batch or (last and here < batch):
            raise ProtocolError(
                f"Expected microbatches of {counted(batch, 'example')} "
                "together. "
                f"Received: {here} in {len(self._smashed) + 1} of {count}.",
                "shape",
            )


def check(microbatch: Microbatch, guard: Guard) -> None:
    """Refuses a microbatch that cannot be.

    Raises:
        ProtocolError: With reason `"microbatches"` or `"size"`.
    """
    if not microbatch.index < microbatch.count <= MAX_MICROBATCHES:
        raise ProtocolError(
            f"Expected a microbatch with an index below its count, and a "
            f"count of at most {MAX_MICROBATCHES}. Received: index "
            f"{microbatch.index} of {microbatch.count}.",
            "microbatches",
        )
    guard.batch(microbatch.batch)
