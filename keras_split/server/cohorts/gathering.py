"""Waits for what several members are to give, but not for ever."""

import logging
import threading
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Generic
from typing import TypeVar

from keras_split.errors import ProtocolError
from keras_split.errors import SplitError
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Refusal
from keras_split.server.cohorts.alarm import ALARM
from keras_split.server.cohorts.alarm import Call
from keras_split.utils import workers

_LOG = logging.getLogger("keras_split.server")
_T = TypeVar("_T")
# Makes the replies of all that gave something, by member.
Close = Callable[[Mapping[int, _T]], Mapping[int, Message]]


class Gathering(Generic[_T]):
    """What some members give, each once, and what all are told then.

    It closes when everybody that is expected has given something or was lost,
    or when the time is over since the first one gave something; whoever
    comes later is refused with reason `"late"`. `close` runs once, in the
    thread that came last, and nothing of ours is locked meanwhile.

    Args:
        expected: Numbers of the members.
        deadline_s: How long it waits for the others.
        close: Makes the replies of those that gave something.
        what: What they give, for who comes too late.

    Attributes:
        expected: Who may still give something, or has.
    """

    def __init__(
        self,
        expected: Iterable[int],
        deadline_s: float,
        close: Close[_T],
        what: str,
    ) -> None:
        self.expected = set(expected)
        self._deadline_s = deadline_s
        self._close = close
        self._what = what
        self._lock = threading.Lock()
        self._given: dict[int, _T] = {}
        self._futures: dict[int, Future[Message]] = {}
        self._timer: Call | None = None
        self.closed = False

    def give(self, member: int, value: _T) -> "Future[Message]":
        """What a member gives; resolves when all have, or may not any more.

        A member that gives again, because its connection was lost, waits for
        the same reply, and its first value counts.

        Raises:
            ProtocolError: With reason `"late"`, if it is over, or the member
                is none of those that are expected.
        """
        with self._lock:
            if member in self._futures:
                return self._futures[member]
            if self.closed or member not in self.expected:
                raise ProtocolError(
                    f"Expected {self._what} in time. Received: one of a member "
                    "that was left out. Ask for the next.",
                    "late",
                )
            self._given[member] = value
            future: Future[Message] = Future()
            self._futures[member] = future
            self._begin()
            ends = self._ends()
        if ends:
            self._finish()
        return future

    def begin(self) -> None:
        """Its time runs from now on, and not from the first one that gives."""
        with self._lock:
            self._begin()

    def lacks(self, member: int) -> bool:
        """Whether a member is expected, and has not given anything."""
        return member in self.expected and member not in self._given

    def lose(self, member: int) -> None:
        """Nobody waits for a member any more; what it gave counts."""
        with self._lock:
            if self.closed or member in self._given:
                return
            self.expected.discard(member)
            ends = self._ends()
        if ends:
            self._finish()

    def expire(self) -> None:
        """The time is over: goes on with what is there."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        self._finish()

    def _begin(self) -> None:
        """The same; the lock must be held."""
        if self._timer is None and not self.closed:
            self._timer = ALARM.after(
                self._deadline_s, lambda: workers.start(self.expire)
            )

    def _ends(self) -> bool:
        """Whether it closes now; the lock must be held."""
        if self.closed or self._given.keys() < self.expected:
            return False
        self.closed = bool(self._given)
        return self.closed

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        replies: Mapping[int, Message] = {}
        # Nobody asks for vectors again; replies are kept for who was cut off.
        given, self._given = self._given, {}
        try:
            replies = self._close(given)
        except ProtocolError as error:
            refusal = Refusal(error.reason, str(error))
        except SplitError as error:
            refusal = Refusal("refused", str(error))
        except Exception as error:
            _LOG.exception("%s could not be dealt with", self._what)
            refusal = Refusal(
                "internal",
                f"Expected to go on with {self._what}. Received: "
                f"{type(error).__name__} on the server; its log has the "
                "traceback.",
            )
        else:
            refusal = Refusal("internal", f"No reply to {self._what}.")
        for member, future in self._futures.items():
            future.set_result(replies.get(member, refusal))
