"""Fair turns: one at a time, and nobody twice while another waits."""

import contextlib
import threading
import time
from collections import OrderedDict
from collections import deque
from collections.abc import Iterator


class FairLock:
    """A lock that goes round among those who wait for it.

    `threading.Lock` may hand itself to the same thread again and again. Here
    everyone who waits has a key, and keys are served one after the other,
    however many threads wait under one of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: OrderedDict[str, deque[threading.Event]] = OrderedDict()

    @contextlib.contextmanager
    def take(self, key: str) -> Iterator[float]:
        """Waits for a turn and holds it; gives the seconds waited."""
        began = time.perf_counter()
        with self._lock:
            turn = None
            if self._taken:
                turn = threading.Event()
                self._waiting.setdefault(key, deque()).append(turn)
            self._taken = True
        if turn is not None:
            try:
                turn.wait()
            except BaseException:  # Ctrl-C, where a client is in this process
                self._give_up(key, turn)
                raise
        try:
            yield time.perf_counter() - began
        finally:
            self._pass_on()

    def _give_up(self, key: str, turn: threading.Event) -> None:
        """Nobody waits for a turn any more, which may have come meanwhile."""
        with self._lock:
            turns = self._waiting.get(key, deque())
            waits = turn in turns
            if waits:
                turns.remove(turn)
                if not turns:
                    del self._waiting[key]
        if not waits:
            self._pass_on()

    def _pass_on(self) -> None:
        with self._lock:
            if not self._waiting:
                self._taken = False
                return
            key, turns = self._waiting.popitem(last=False)
            turns.popleft().set()
            if turns:
                self._waiting[key] = turns  # behind everyone else
