"""The seam between the phone and the server."""

import abc

from keras_split.errors import RefusedError
from keras_split.messages import Message
from keras_split.messages import Refusal


class Transport(abc.ABC):
    """Carries one message at a time to a server and returns its reply.

    A new way to reach a server is a class with these two methods.

    Attributes:
        uplink_bytes: What was sent so far.
        downlink_bytes: What came back so far.
    """

    uplink_bytes = 0
    downlink_bytes = 0

    def exchange(self, message: Message) -> Message:
        """Sends a message and waits for the reply.

        Raises:
            RefusedError: If the server refused it.
            TransportError: If the server cannot be reached.
        """
        reply = self._exchange(message)
        if isinstance(reply, Refusal):
            raise RefusedError(reply.text, reply.reason)
        return reply

    @abc.abstractmethod
    def _exchange(self, message: Message) -> Message:
        """Sends a message and returns the reply, refused or not."""

    @abc.abstractmethod
    def close(self) -> None:
        """Lets go of the server. The transport is not used again."""
