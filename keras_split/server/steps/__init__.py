"""The steps that a body can take: who knows them begins them here."""

from collections.abc import Sequence

from keras_split.errors import ProtocolError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Committed
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Message
from keras_split.protocol.moment import Moment
from keras_split.server.steps import microbatched_step
from keras_split.server.steps.microbatched_step import MicrobatchedStep
from keras_split.server.steps.one_cut_step import OneCutStep
from keras_split.server.steps.share import Share
from keras_split.server.steps.step import Early
from keras_split.server.steps.step import Means
from keras_split.server.steps.step import Step
from keras_split.server.steps.step import StepMessage
from keras_split.server.steps.whole_step import WholeStep

__all__ = [
    "Early",
    "Means",
    "Share",
    "Step",
    "StepMessage",
    "again",
    "begin",
    "begin_share",
]


def begin(message: StepMessage, means: Means) -> Step:
    """The step whose first message this is.

    Args:
        message: Its first message, which it is to answer next.
        means: What it is taken with.

    Raises:
        ProtocolError: If no step begins with such a message.
    """
    if isinstance(message, LabeledStep):
        return OneCutStep(message, means)
    if isinstance(message, Backward):
        raise _without_forward(message, means)
    if means.half.contract.labels_on_server:
        raise ProtocolError(
            "Expected a labeled step, for this model is cut once. "
            "Received: a Forward.",
            "order",
        )
    if message.microbatch is not None:
        return MicrobatchedStep(message, means)
    return WholeStep(message, means)


def begin_share(message: Forward | Backward, means: Means) -> Share:
    """The session's part of a merged step, whose first message this is.

    Raises:
        ProtocolError: If no such step begins with the message; with reason
            `"cohort"`, if it is a step of this phone alone.
    """
    if isinstance(message, Backward):
        raise _without_forward(message, means)
    return Share(message, means)


def again(
    replies: Sequence[Message], message: StepMessage, early: Early | None
) -> Message:
    """A reply to a step that was taken already, whose reply was lost.

    Args:
        replies: All of its replies: one, or one a microbatch.
        message: What is asked again.
        early: As in `Step.answer`.

    Raises:
        ProtocolError: If the step did not travel like that.
    """
    microbatch = getattr(message, "microbatch", None)
    index = microbatch.index if microbatch else 0
    count = microbatch.count if microbatch else 1
    if count != len(replies) or index >= count:
        raise ProtocolError(
            f"Expected a message of a step of {len(replies)} microbatches, "
            f"which was taken. Received: {index} of {count}.",
            "order",
        )
    if early is None or not getattr(message, "early", False):
        return replies[index]
    reply = replies[index]
    early(reply)
    return Committed(message.step, moment=getattr(reply, "moment", Moment()))


def _without_forward(message: Backward, means: Means) -> ProtocolError:
    if message.microbatch is None:
        text = (
            f"Expected the forward of step {message.step} first. "
            "Received: its backward. Send the smashed data again."
        )
    else:
        microbatched_step.check(message.microbatch, means.guard)
        text = (
            f"Expected the forwards of step {message.step} first. "
            "Received: a backward of a microbatch. Send all of them again."
        )
    return ProtocolError(text, "order")
