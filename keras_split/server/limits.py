"""What a server allows those who call it: how much, and who keeps count."""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from keras_split.errors import RefusedError

_KEYS = 4096  # callers remembered; the one not seen for longest goes first


@dataclass(frozen=True)
class StreamLimits:
    """Bounds on calls, which hold before a session is asked for.

    Attributes:
        max_streams: Clients at the same time.
        hello_timeout_s: How long a stream may take to open a session.
        message_timeout_s: How long a message may take to arrive, or a reply
            to be taken; 0.1 ms for each byte come on top, up to 10 minutes.
        idle_timeout_s: How long a stream may be silent between messages.
        max_inflight_bytes: Memory for messages that are arriving or being
            answered, of all streams together. One client has a quarter of
            it, or one message.
        hello_burst: Sessions that one host or client may ask for at once.
        hellos_per_s: How many of these it is given back each second.
        messages_per_s: Messages that one stream may send; so many at once
            as well.
    """

    max_streams: int = 64
    hello_timeout_s: float = 20.0
    message_timeout_s: float = 60.0
    idle_timeout_s: float = 3600.0
    max_inflight_bytes: int = 2 << 30
    hello_burst: float = 200
    hellos_per_s: float = 20
    messages_per_s: float = 2000

    @property
    def watch_period_s(self) -> float:
        """How often calls are looked after, so that these times hold."""
        shortest = min(
            self.hello_timeout_s, self.message_timeout_s, self.idle_timeout_s
        )
        return min(max(shortest / 8, 0.02), 1.0)


class Places:
    """Places for calls; one that finds none is told so at once.

    Args:
        count: How many there are.

    Example:
    >>> places = Places(1)
    >>> with places.take(), places.take():
    ...     pass
    Traceback (most recent call last):
    keras_split.errors.RefusedError: Expected fewer calls at a time. ...
    """

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Has a place until the end of a `with`.

        Raises:
            RefusedError: If there is none; its reason is `"busy"`.
        """
        if not self._free.acquire(blocking=False):
            raise RefusedError(
                "Expected fewer calls at a time. Received: one more than "
                "this server answers.",
                "busy",
            )
        try:
            yield
        finally:
            self._free.release()


class Budget:
    """A bound on the bytes of messages in flight, over all streams.

    Args:
        limit_bytes: What they may take together.
        whole: The budget that this one is a part of, if it is one.
    """

    def __init__(self, limit_bytes: int, whole: "Budget | None" = None) -> None:
        self._left = limit_bytes
        self._whole = whole
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> bool:
        """Sets bytes aside; False if there is no room for them."""
        with self._lock:
            if nbytes > self._left:
                return False
            if self._whole is not None and not self._whole.take(nbytes):
                return False
            self._left -= nbytes
            return True

    def give_back(self, nbytes: int) -> None:
        """Returns bytes that were set aside."""
        with self._lock:
            self._left += nbytes
        if self._whole is not None:
            self._whole.give_back(nbytes)


class Share:
    """What one call has of a budget, until the end of a `with` at most.

    Example:
    >>> budget = Budget(10)
    >>> one, other = Share(budget), Share(budget)
    >>> one.take(8), other.take(8)
    (True, False)
    >>> one.free()
    >>> other.take(8)
    True
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held = 0

    def take(self, nbytes: int) -> bool:
        """Sets bytes aside; False if there is no room for them."""
        if not self._budget.take(nbytes):
            return False
        self._held += nbytes
        return True

    def reserve(self, nbytes: int) -> bool:
        """Sets aside what is missing of so many bytes; False if it cannot."""
        return nbytes <= self._held or self.take(nbytes - self._held)

    def free(self) -> None:
        """Gives back all that was taken."""
        self._budget.give_back(self._held)
        self._held = 0

    def __enter__(self) -> "Share":
        return self

    def __exit__(self, *raised: object) -> None:
        self.free()


class Bucket:
    """Allows `burst` things at once, and `per_s` a second in the long run.

    For several threads at once.

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
        # With less than a whole one nothing would be allowed, ever.
        self._burst = max(burst, 1.0) if burst else 0.0
        self._per_s = per_s
        self._clock = clock
        self._left = self._burst
        self._at = clock()
        self._lock = threading.Lock()

    @property
    def empty(self) -> bool:
        """Whether no more is allowed now."""
        with self._lock:
            return self._filled() < 1

    def take(self) -> bool:
        """Whether one more is allowed now; if so, it is counted."""
        with self._lock:
            if self._filled() < 1:
                return False
            self._left -= 1
            return True

    def _filled(self) -> float:
        now = self._clock()
        left = self._left + (now - self._at) * self._per_s
        self._left, self._at = min(left, self._burst), now
        return self._left


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
