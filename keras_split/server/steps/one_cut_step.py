"""A step of a model that is cut once: the loss is here, and so are labels."""

import time

from keras_split.errors import ProtocolError
from keras_split.protocol import validation
from keras_split.protocol.messages import LabeledResult
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Message
from keras_split.server.steps.step import Early
from keras_split.server.steps.step import Means
from keras_split.server.steps.step import Step
from keras_split.server.steps.step import StepMessage


class OneCutStep(Step):
    """One exchange: smashed data and labels for loss and gradients.

    Args:
        message: The whole of it.
        means: What it is taken with.

    Raises:
        ProtocolError: If labels have no business here, or something is not
            what the contract says.
    """

    def __init__(self, message: LabeledStep, means: Means) -> None:
        super().__init__(message.step, means)
        if not means.half.contract.labels_on_server:
            raise ProtocolError(
                "Expected no labels, for this model is cut twice and labels "
                "stay on the phone. Received: a LabeledStep.",
                "order",
            )
        batch = means.guard.smashed(message.tensors)
        self.examples = batch
        validation.check_labels(
            [*message.labels, *message.sample_weights], batch
        )
        validation.check_learning_rate(message.learning_rate)

    def belongs(self, message: StepMessage) -> bool:
        """No message does: the first one is all there is."""
        return False

    def answer(self, message: StepMessage, early: Early | None) -> Message:
        """Takes the step."""
        assert isinstance(message, LabeledStep)
        began = time.perf_counter()
        loss, predictions, tensors = self._means.half.labeled_step(
            message.tensors,
            message.labels,
            message.sample_weights,
            self._means.optimizer,
            message.learning_rate,
            smashed_grad=not message.no_smashed_grad,
        )
        self.compute_s = time.perf_counter() - began
        self.replies = [LabeledResult(self.number, loss, predictions, tensors)]
        self.done = True
        return self.replies[0]

    def abandon(self) -> None:
        """Nothing waits."""
