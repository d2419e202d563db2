"""How often something may be done: token buckets."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

_KEYS = 4096  # callers remembered; the one not seen for longest goes first


class Bucket:
    """Allows `burst` things at once, and `per_s` a second in the long run.

    Example:
    >>> bucket = Bucket(2, per_s=0.001)
    >>> [bucket.take() for _ in range(3)]
    [True, True, False]
    """

    def __init__(
        self,
        burst: float,
        per_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._left = burst
        self._at = clock()

    def take(self) -> bool:
        """Whether one more is allowed now; if so, it is counted."""
        now = self._clock()
        left = self._left + (now - self._at) * self._per_s
        self._left, self._at = min(left, self._burst), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Buckets:
    """A bucket for each caller; for several threads at once."""

    def __init__(
        self,
        burst: float,
        per_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = partial(Bucket, burst, per_s, clock)
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> bool:
        """Whether this caller may do it once more."""
        with self._lock:
            bucket = self._buckets.pop(key, None) or self._make()
            self._buckets[key] = bucket
            if len(self._buckets) > _KEYS:
                self._buckets.popitem(last=False)
            return bucket.take()
