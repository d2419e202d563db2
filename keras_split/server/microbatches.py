"""One step of the body whose batch travels in microbatches."""

from typing import TYPE_CHECKING

from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.protocol.messages import MAX_MICROBATCHES
from keras_split.protocol.messages import Features
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Microbatch
from keras_split.protocol.messages import SmashedGrad

if TYPE_CHECKING:
    from keras_split.training.body_optimizer import BodyOptimizer
    from keras_split.training.server_step import SeedState
    from keras_split.training.server_step import ServerHalf
    from keras_split.training.server_step import Sums


class Microbatches:
    """Runs the microbatches of one step and commits the step with the last.

    Forwards come in the order of the microbatches, and so do backwards. One
    that was answered already gets the same answer; nothing else moves the
    body than the commit.

    Args:
        key: Names the step.
        step: Its number in the session.
        first: The first microbatch.
        half: The body.
        optimizer: Updates it.

    Attributes:
        step: The same.
        microbatch: The first microbatch.
        replies: Answers to the backwards so far.
    """

    def __init__(
        self,
        key: str,
        step: int,
        first: Microbatch,
        half: "ServerHalf",
        optimizer: "BodyOptimizer",
    ) -> None:
        self.step = step
        self.microbatch = first
        self.replies: list[Message] = []
        self._key = key
        self._half = half
        self._optimizer = optimizer
        self._smashed: list[list[CutTensor]] = []
        self._features: list[Features] = []
        # What each microbatch begins with, and what the last one ended with.
        self._seed_state: list[SeedState | None] = [None]
        self._sums: list[Sums] = []

    @property
    def done(self) -> bool:
        """Whether every microbatch has come back."""
        return len(self.replies) == self.microbatch.count

    def belongs(self, step: int, microbatch: Microbatch) -> bool:
        """Whether a message is about this attempt at this step."""
        ours = self.microbatch
        return step == self.step and (
            microbatch.count,
            microbatch.batch,
            microbatch.attempt,
        ) == (ours.count, ours.batch, ours.attempt)

    def examples(self, index: int) -> int:
        """How many examples a microbatch has."""
        return self._smashed[index][0].shape[0]

    def share(self, index: int) -> float:
        """Its part of the batch."""
        return self.examples(index) / self.microbatch.batch

    def forward(self, index: int, smashed: list[CutTensor]) -> Features:
        """Features of a microbatch."""
        if index < len(self._features):
            return self._features[index]
        self._check_turn("forward", index, len(self._features))
        self._check_examples(smashed)
        tensors, penalty, after = self._half.microbatch_forward(
            f"{self._key}/{index}",
            smashed,
            self._optimizer,
            self._seed_state[index],
        )
        self._smashed.append(smashed)
        self._seed_state.append(after)
        self._features.append(Features(self.step, tensors, penalty))
        return self._features[index]

    def backward(
        self, index: int, features_grad: list[CutTensor], learning_rate: float
    ) -> Message:
        """Gradients of the smashed data; the last one commits the step."""
        self._check_turn("backward", index, len(self.replies))
        tensors, sums = self._half.microbatch_backward(
            f"{self._key}/{index}",
            self._smashed[index],
            features_grad,
            self._optimizer,
            learning_rate,
            self._seed_state[index],
            self.share(index),
        )
        self._sums.append(sums)
        if index == self.microbatch.count - 1:
            seed_state = self._seed_state[-1]
            assert seed_state is not None
            self._half.commit_microbatches(
                self._optimizer, self._sums, seed_state
            )
            self._sums = []
        elif len(self._sums) == 2:  # each is as large as the weights
            self._sums = [self._half.add(self._optimizer, *self._sums)]
        self.replies.append(SmashedGrad(self.step, tensors))
        return self.replies[index]

    def check_backward(self, index: int) -> None:
        """Checks that a microbatch went forward before it comes back."""
        self._check_turn("backward", index, len(self.replies))
        if index >= len(self._features):
            raise ProtocolError(
                f"Expected the forward of microbatch {index} of step "
                f"{self.step} first. Received: its backward.",
                "order",
            )

    def abandon(self) -> None:
        """Frees what the microbatches hold."""
        for index in range(self.microbatch.count):
            self._half.abandon(f"{self._key}/{index}")

    def _check_turn(self, what: str, index: int, expected: int) -> None:
        if index != expected:
            raise ProtocolError(
                f"Expected the {what} of microbatch {expected} of step "
                f"{self.step}. Received: that of {index}. Microbatches come "
                "one after the other.",
                "order",
            )

    def _check_examples(self, smashed: list[CutTensor]) -> None:
        known = sum(tensors[0].shape[0] for tensors in self._smashed)
        count, batch = self.microbatch.count, self.microbatch.batch
        here = known + smashed[0].shape[0]
        last = len(self._smashed) == count - 1
        if here > batch or (last and here < batch):
            raise ProtocolError(
                f"Expected microbatches of {batch} examples together. "
                f"Received: {here} in {len(self._smashed) + 1} of {count}.",
                "shape",
            )


def check(microbatch: Microbatch, most_examples: int) -> None:
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
    if microbatch.batch > most_examples:
        raise ProtocolError(
            f"Expected a batch of at most {most_examples} examples, in "
            f"microbatches too. Received: {microbatch.batch}. Use a smaller "
            "batch, or raise the server's --max-batch.",
            "size",
        )
