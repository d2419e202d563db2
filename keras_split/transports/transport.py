"""The seam between the phone and the server."""

import abc

from keras_split.errors import RefusedError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Refusal


class Transport(abc.ABC):
    """Carries messages to a server and returns its replies.

    A new way to reach a server is a class with `_exchange` and `close`. One
    that can have several messages on the way has `_post`, `_await_more` and
    `_collect` too.

    Attributes:
        uplink_bytes: What was sent so far.
        downlink_bytes: What came back so far.
    """

    uplink_bytes = 0
    downlink_bytes = 0
    _owed = 0
    _answers: tuple[Message, ...] = ()

    @property
    def owes(self) -> bool:
        """Whether there is a reply to collect."""
        return self._owed > 0

    def exchange(self, message: Message) -> Message:
        """Sends a message and waits for the reply.

        Replies that nobody has collected by then are dropped. The second
        reply to a `Backward` that is answered early is collected later.

        Raises:
            RefusedError: If the server refused it.
            TransportError: If the server cannot be reached.
        """
        self.drop()
        reply = _accepted(self._exchange(message))
        if isinstance(message, Backward) and message.early:
            self._await_more(message)
        return reply

    def post(self, message: Message) -> None:
        """Sends a message; its reply is collected later, in order.

        Raises:
            TransportError: If the server cannot be reached.
        """
        self._post(message)
        self._owed += 1

    def collect(self) -> Message:
        """Waits for the reply to the first message that has none yet.

        Raises:
            RefusedError: If the server refused that message.
            TransportError: If the server cannot be reached any more.
        """
        assert self._owed
        self._owed -= 1
        return _accepted(self._collect())

    def drop(self) -> None:
        """Waits for all replies that are on their way, and forgets them."""
        while self._owed:
            self._owed -= 1
            self._collect()

    @abc.abstractmethod
    def _exchange(self, message: Message) -> Message:
        """Sends a message and returns the reply, refused or not."""

    def _post(self, message: Message) -> None:
        """Sends a message; here the reply is waited for at once."""
        self._answers = (*self._answers, self._exchange(message))

    def _await_more(self, message: Message) -> None:
        """A message that is answered has one more answer to come."""
        self._owed += 1

    def _collect(self) -> Message:
        """Returns the next reply, refused or not."""
        reply, self._answers = self._answers[0], self._answers[1:]
        return reply

    @abc.abstractmethod
    def close(self) -> None:
        """Lets go of the server. The transport is not used again."""


def _accepted(reply: Message) -> Message:
    if isinstance(reply, Refusal):
        raise RefusedError(reply.text, reply.reason)
    return reply
