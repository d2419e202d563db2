"""Codes with which a phone joins, each once and not for ever."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from keras_split.server.tokens import digest
from keras_split.server.web.refusals import HttpError

SECONDS = 600.0
_KEPT = 256  # codes that are remembered; the oldest goes first
_USED = -1.0


class Invitations:
    """Makes codes and takes them back; for several threads at once.

    In memory alone: a server that was restarted makes new ones.

    Args:
        seconds: How long a code is good.
        clock: Gives the time in seconds.

    Example:
    >>> invitations = Invitations()
    >>> code = invitations.make()
    >>> invitations.use(code)
    >>> invitations.use(code)
    Traceback (most recent call last):
    keras_split.server.web.refusals.HttpError: ... has been used. ...
    """

    def __init__(
        self,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def make(self) -> str:
        """A new code."""
        code = secrets.token_urlsafe(16)
        with self._lock:
            self._until[digest(code)] = self._clock() + self.seconds
            if len(self._until) > _KEPT:
                self._until.popitem(last=False)
        return code

    def is_open(self, code: str) -> bool:
        """Whether it could be used now."""
        with self._lock:
            return self._until.get(digest(code), _USED) > self._clock()

    def was_used(self, code: str) -> bool:
        """Whether a phone has joined with it."""
        with self._lock:
            return self._until.get(digest(code)) == _USED

    def use(self, code: str) -> None:
        """Uses a code up.

        Raises:
            HttpError: If it is none, has been used, or is too old.
        """
        key = digest(code)
        with self._lock:
            until = self._until.get(key)
            if until is not None and until > self._clock():
                self._until[key] = _USED
                return
        if until is None:
            raise HttpError(
                401,
                "Expected a code of this server. Received: another. Scan the "
                "one that it shows now.",
                "unauthenticated",
            )
        how = "has been used" if until == _USED else "has ended"
        raise HttpError(
            410,
            f"Expected a code that is good. Received: one that {how}. Scan "
            "the one that the server shows now.",
            "unauthenticated",
        )

    def give_back(self, code: str) -> None:
        """Lets a code be used again, for nothing came of it."""
        with self._lock:
            self._until[digest(code)] = self._clock() + self.seconds
