"""Calls at a later time, all in one thread."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field

_LOG = logging.getLogger("keras_split.server")
_LONG_S = 3600.0  # no thread of Python can wait for ever


@dataclass(order=True)
class Call:
    """One that is to come.

    Attributes:
        cancelled: Whether it is not to come after all.
    """

    at: float
    number: int
    call: Callable[[], object] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """It is not to come; what it would have needed is let go of now."""
        self.cancelled = True
        self.call = _nothing


class Alarm:
    """Calls at a later time. Its thread lives as long as anything is to come.

    Calls are short, or hand their work to others: the next one waits.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: list[Call] = []
        self._numbers = itertools.count()
        self._runs = False

    def after(self, seconds: float, call: Callable[[], object]) -> Call:
        """Calls later, unless what this returns is cancelled."""
        made = Call(time.monotonic() + seconds, next(self._numbers), call)
        with self._changed:
            heapq.heappush(self._calls, made)
            if not self._runs:
                self._runs = True
                threading.Thread(
                    target=self._run, name="alarm", daemon=True
                ).start()
            if self._calls[0] is made:  # else its thread wakes in time
                self._changed.notify()
        return made

    def _run(self) -> None:
        while (due := self._next()) is not None:
            if due.cancelled:
                continue
            try:
                due.call()
            except Exception:
                _LOG.exception("something that was due could not be done")

    def _next(self) -> Call | None:
        with self._changed:
            while self._calls:
                if self._calls[0].cancelled:
                    heapq.heappop(self._calls)
                    continue
                left = self._calls[0].at - time.monotonic()
                if left <= 0:
                    return heapq.heappop(self._calls)
                self._changed.wait(min(left, _LONG_S))
            self._runs = False
            return None


def _nothing() -> None:
    """What is called instead of what was cancelled."""


ALARM = Alarm()
