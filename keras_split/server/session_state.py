"""What is left of a session when its server is gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import numpy as np

from keras_split.errors import ProtocolError
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.messages import Message


@dataclass(frozen=True, eq=False)
class SessionState:
    """What outlives the server of a session.

    Attributes:
        name: Name of the session.
        client: Whose it is.
        optimizer: Config of its optimizer, as in `Hello`.
        loss: Config of its loss, as in `Hello`.
        data: What its client's data is, as in `Hello`.
        examples: In all steps that were taken by messages.
        next_step: The first step that was not taken yet.
        replies: The answers to the backwards of the last one, in case they
            are asked for again: one, or one a microbatch.
        slots: Variables of the optimizer; none if the server has one for all.
        replied_at: When the replies were made, by `time.monotonic`; means
            nothing to another server, and is not written.
    """

    name: str
    client: str = ""
    optimizer: str = ""
    loss: str = ""
    next_step: int = 0
    replies: Sequence[Message] = field(default_factory=tuple)
    slots: Sequence[np.ndarray[Any, Any]] = field(default_factory=tuple)
    replied_at: float = 0.0
    data: DataDigest = field(default_factory=DataDigest)
    examples: int = 0


def not_open() -> ProtocolError:
    """The error of a session that has ended, or that never was."""
    return ProtocolError(
        "Expected a session that is open. Received: one that is not. Say "
        "hello first; the server may have been restarted, or the session was "
        "silent for too long.",
        "session",
    )
