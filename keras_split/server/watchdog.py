"""Ends calls that take longer than they may."""

import math
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager

# Slower than any network that one trains over.
_SLOWEST_BYTES_PER_S = 10_000
# Whatever travels: bytes that are held meanwhile are missing for others.
LONGEST_S = 600.0


class Watch:
    """The time that one call has left."""

    def __init__(
        self,
        end: Callable[[], object],
        allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._end = end
        self._allowed = allowed
        self.until = math.inf

    def allow(
        self, seconds: float, nbytes: int = 0, since: float | None = None
    ) -> None:
        """The call may take so long.

        Args:
            seconds: How long, whatever travels.
            nbytes: What travels, which is given time on top, up to ten
                minutes in all.
            since: When that began, by `time.monotonic`; by default now.
        """
        began = time.monotonic() if since is None else since
        more = max(LONGEST_S - seconds, 0.0)
        self.until = began + seconds + min(nbytes / _SLOWEST_BYTES_PER_S, more)

    def rest(self) -> None:
        """The call may take as long as it likes."""
        self.until = math.inf

    def look(self, now: float) -> None:
        """Ends the call if its time is over, or it is allowed no more."""
        if now > self.until or not self._allowed():
            self.until = math.inf
            self._allowed = lambda: True  # it is told once
            self._end()


class Watchdog:
    """Looks after all calls of a server, in a thread of its own.

    A call that waits for its client cannot look at the clock itself.

    Args:
        period_s: How often it looks.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._watches: set[Watch] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to look; a second time does nothing."""
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(
                target=self._run, name="keras_split-watchdog", daemon=True
            )
        self._thread.start()

    def stop(self) -> None:
        """Looks no more."""
        self._stopped.set()

    @contextmanager
    def watch(
        self,
        end: Callable[[], object],
        allowed: Callable[[], bool] = lambda: True,
    ) -> Iterator[Watch]:
        """Looks after one call.

        Args:
            end: Ends the call; called from the watchdog's thread.
            allowed: Whether it may go on; asked again and again there.
        """
        watch = Watch(end, allowed)
        with self._lock:
            self._watches.add(watch)
        try:
            yield watch
        finally:
            with self._lock:
                self._watches.discard(watch)

    def _run(self) -> None:
        while not self._stopped.wait(self._period_s):
            now = time.monotonic()
            with self._lock:
                watches = list(self._watches)
            for watch in watches:
                watch.look(now)
