"""The seam between the phone and the server."""

import abc
import contextlib
from typing import Any
from typing import TypeVar

from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Refusal
from keras_split.utils.plain import plain

_M = TypeVar("_M", bound=Message)


class Transport(abc.ABC):
    """Carries messages to a server and returns its replies.

    A new way to reach a server is a class with two methods:

    * `carry(message)` sends a message and returns the reply, a `Refusal` too.
      What goes wrong on the way is a `TransportError`; the client connects
      anew then, and sends the message again.
    * `close()` lets go of the server.

    It counts `uplink_bytes` and `downlink_bytes`, where it knows them. One
    that can have several messages on the way overrides `_post` and `_collect`
    too, one that can bring the two replies of a step whose gradients come
    before its update sets `replies_early` and overrides `_await_more`.

    Attributes:
        uplink_bytes: What was sent so far.
        downlink_bytes: What came back so far.
        replies_early: Whether a `Backward` may be answered twice.
        half_bytes: More than the half of a cohort takes, decoded: replies may
            be longer by that. 0 for a phone of none.

    Example:
        class Recorder(Transport):
            def __init__(self, inner, path):
                self.inner, self.file = inner, open(path, "a")

            def carry(self, message):
                print(type(message).__name__, file=self.file)
                return self.inner.carry(message)

            def close(self):
                self.inner.close()
                self.file.close()
    """

    uplink_bytes = 0
    downlink_bytes = 0
    replies_early = False
    half_bytes = 0
    _owed = 0
    _answers: tuple[Message, ...] = ()

    @abc.abstractmethod
    def carry(self, message: Message) -> Message:
        """Sends a message and returns the reply, refused or not.

        Raises:
            TransportError: If the server cannot be reached.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Lets go of the server.

        A transport that a factory made is not used again.
        """

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
        if self._owed:
            self.drop()
        reply = _accepted(self.carry(message))
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

    def _post(self, message: Message) -> None:
        """Sends a message; here the reply is waited for at once."""
        self._answers = (*self._answers, self.carry(message))

    def _await_more(self, message: Message) -> None:
        """A message that is answered has one more answer to come."""
        self._owed += 1

    def _collect(self) -> Message:
        """Returns the next reply, refused or not."""
        reply, self._answers = self._answers[0], self._answers[1:]
        return reply


class LocalTransport(Transport):
    """To a server in this process, which can take a step without messages."""

    @abc.abstractmethod
    def find(self, session: str) -> Any:
        """The server's side of a session; None if it has none."""

    @abc.abstractmethod
    def joint_step(
        self, session: str
    ) -> contextlib.AbstractContextManager[None]:
        """Surrounds a step that runs in one graph with the client's.

        Raises:
            RefusedError: If the server refuses the step.
        """


def expect(kind: type[_M], reply: Message) -> _M:
    """The reply, if it is of that kind.

    Raises:
        ProtocolError: If it is of another.
    """
    if not isinstance(reply, kind):
        raise ProtocolError(
            f"Expected a {kind.__name__}. Received: a {type(reply).__name__}."
            " Install the same keras_split on the phone and on the server."
        )
    return reply


def _accepted(reply: Message) -> Message:
    if isinstance(reply, Refusal):
        raise RefusedError(plain(reply.text), reply.reason)
    return reply
