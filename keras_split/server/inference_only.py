"""A server that only predicts: what it says, and what it refuses."""

from keras_split.errors import ProtocolError
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Restore
from keras_split.protocol.messages import Snapshot
from keras_split.server.steps import StepMessage

NOTICE = (
    "This server only predicts: evaluate and predict work, and nothing is "
    "trained."
)


def check(message: Message) -> None:
    """Lets through what neither trains a body nor keeps copies of one.

    Raises:
        ProtocolError: With reason `"inference-only"`, for anything else.
    """
    if not isinstance(message, StepMessage | Snapshot | Restore):
        return
    raise refusal(f"a {type(message).__name__}")


def refusal(received: str) -> ProtocolError:
    """The error of who wants more than predictions.

    Args:
        received: What came, in words.
    """
    return ProtocolError(
        "Expected to evaluate or to predict, for this server was started with "
        f"inference_only (serve --inference-only). Received: {received}, "
        "which is part of training. Train with a server that was started "
        "without it.",
        "inference-only",
    )
