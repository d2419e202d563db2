"""One phone's part of a step that several phones take together."""

from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.protocol.cohort import MergedStep
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import Message
from keras_split.server.steps.step import Early
from keras_split.server.steps.step import Means
from keras_split.server.steps.step import Step
from keras_split.server.steps.step import StepMessage


class Share(Step):
    """What one phone gives to a merged step; the cohort takes that.

    Args:
        message: Its forward.
        means: What it is checked with.

    Attributes:
        merged: Which step of the cohort it is of.
        smashed: The smashed data.
        smashed_grad: Whether the phone needs gradients of them.
        features_grad: Those of the features, within the limits; None before
            they have come.
        learning_rate: Of the step.

    Raises:
        ProtocolError: If the smashed data are not what the contract says;
            with reason `"cohort"`, if they are of no merged step.
    """

    def __init__(self, message: Forward, means: Means) -> None:
        super().__init__(message.step, means)
        merged = message.merged
        if merged is None or message.microbatch is not None:
            raise ProtocolError(
                "Expected a share of a step of all phones, in one piece, for "
                "this server merges their steps. Received: "
                + (
                    "a microbatch. Train with "
                    "SplitStrategy(..., microbatches=1)."
                    if message.microbatch is not None
                    else "a step of one phone. Train with "
                    "callbacks=[keras_split.FederatedAveraging()], or "
                    "--federate."
                ),
                "cohort",
            )
        batch = means.guard.smashed(message.tensors)
        if not 0 < batch <= merged.count:
            raise ProtocolError(
                f"Expected at most the {merged.count} examples that the phone "
                f"was asked for, and one at least. Received: {batch}.",
                "shape",
            )
        self.merged: MergedStep = merged
        self.smashed: list[CutTensor] = message.tensors
        self.smashed_grad = not message.no_smashed_grad
        self.features_grad: list[CutTensor] | None = None
        self.learning_rate = 0.0

    @property
    def means(self) -> Means:
        """What it is taken with."""
        return self._means

    @property
    def count(self) -> int:
        """Examples in it."""
        return self.smashed[0].shape[0]

    def belongs(self, message: StepMessage) -> bool:
        """Whether it is its backward, or its forward once more."""
        if isinstance(message, Forward):
            return message.merged == self.merged
        return isinstance(message, Backward) and message.microbatch is None

    def take(self, message: Forward | Backward) -> None:
        """Takes over what a message of its number brings.

        Raises:
            ProtocolError: If it is not what the contract says.
        """
        if isinstance(message, Forward):
            return
        guard = self._means.guard
        guard.features_grad(message, self.smashed, self.smashed_grad)
        self.features_grad = guard.clipped(message.tensors)
        self.learning_rate = message.learning_rate

    def answer(self, message: StepMessage, early: Early | None) -> Message:
        """Is not called: the cohort answers."""
        raise ProtocolError(
            "Expected a step that the cohort answers. Received: a message of "
            "one phone alone.",
            "cohort",
        )

    def abandon(self) -> None:
        """Nothing waits here."""
