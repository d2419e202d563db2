"""What an endpoint asks for the reply to a message."""

from typing import Protocol

from keras_split.protocol.messages import Message
from keras_split.server.accounts import Accounts
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import ServerCallback
from keras_split.server.cohorts.mode import Reply
from keras_split.server.steps import Early


class MessageService(Protocol):
    """Answers messages: with a body, or with where one is.

    Attributes:
        accounts: What each client has and uses.
        events: Hears what happens.
        max_message_bytes: The longest payload of a message.
    """

    accounts: Accounts
    events: ServerCallback
    max_message_bytes: int

    def handle(
        self, message: Message, caller: Caller = ..., early: Early | None = None
    ) -> Reply:
        """Answers a message; what is wrong with it becomes a `Refusal`."""

    def hear(self, session: str) -> None:
        """A part of a message came on a stream of a session: it is there."""

    def leave(self, session: str) -> None:
        """A stream of a session ended."""

    def drain(self, grace_s: float) -> None:
        """Lets steps in flight finish, and no other step begin."""

    def close_all(self) -> None:
        """Ends every session."""
