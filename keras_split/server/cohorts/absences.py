"""Phones that are gone, and are waited for, but not for ever."""

import logging
import threading
from collections.abc import Callable

from keras_split.server.cohorts.alarm import ALARM
from keras_split.server.cohorts.alarm import Call
from keras_split.server.cohorts.members import Member
from keras_split.server.flood import Flood
from keras_split.utils import workers

_LOG = logging.getLogger("keras_split.server")
_WORDS = Flood()


class Absences:
    """Phones that are gone, and are waited for, but not for ever.

    A connection that was cut is back within a second, a phone that was killed
    when its process has begun again, and all of them a while after a server
    was. So whatever waits for a phone (a round, a step, an average) still
    does while it is away, and there is one end to that for all of them.

    Args:
        longest_s: How long a phone may be away, in seconds.
        lost: Is told of each that is not waited for any more.
    """

    def __init__(
        self, longest_s: float, lost: Callable[[Member], object]
    ) -> None:
        self._longest_s = longest_s
        self._lost = lost
        self._lock = threading.Lock()
        self._calls: dict[int, Call] = {}
        self._closed = False

    def begin(self, member: Member) -> None:
        """A phone is gone, and may come back."""

        def expire() -> None:
            with self._lock:
                if self._calls.get(member.number) is not call:
                    return  # it was here meanwhile
                del self._calls[member.number]
                member.awaited = False
            if _WORDS.take(""):
                _LOG.warning(
                    "phone %d has been gone for %g s: nobody waits for it any "
                    "more",
                    member.number,
                    self._longest_s,
                )
            self._lost(member)

        self.end(member)
        with self._lock:
            if self._closed:
                return
            call = ALARM.after(self._longest_s, lambda: workers.start(expire))
            self._calls[member.number] = call

    def end(self, member: Member) -> None:
        """It is back, or its session has ended."""
        with self._lock:
            call = self._calls.pop(member.number, None)
        if call is not None:
            call.cancel()

    def close(self) -> None:
        """The server stops: nobody is lost to it any more."""
        with self._lock:
            calls, self._calls = [*self._calls.values()], {}
            self._closed = True
        for call in calls:
            call.cancel()
