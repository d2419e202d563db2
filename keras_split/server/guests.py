"""Places for calls of those whom nobody has let in."""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass

from keras_split.transports.address import peer_host


@dataclass(eq=False)
class _Guest:
    host: str
    end: Callable[[], object]


class Guests:
    """Places for calls; where there is none left, an older call goes.

    A call that is sent away for want of a place would let whoever opens many
    and says nothing shut out all others. Here it shuts out itself: the place
    is that of the oldest call of the host that has most.

    Args:
        places: How many there are.
        of_a_host: How many of them one host may have.

    Example:
    >>> from functools import partial
    >>> guests, ended = Guests(2), []
    >>> from contextlib import ExitStack
    >>> with ExitStack() as stack:
    ...     for name in "abc":
    ...         end = partial(ended.append, name)
    ...         stack.enter_context(guests.take("ipv4:10.0.0.2:4000", end))
    ...     ended
    ['a']
    """

    def __init__(self, places: int, of_a_host: int | None = None) -> None:
        self._places = places
        self._of_a_host = of_a_host or places
        self._here: list[_Guest] = []  # the one who came first goes first
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def take(self, peer: str, end: Callable[[], object]) -> Iterator[None]:
        """Has a place until the end of a `with`, or until `end` is called.

        Args:
            peer: Where the call comes from.
            end: Breaks it off, from another thread.
        """
        guest = _Guest(peer_host(peer), end)
        with self._lock:
            leaver = self._make_room(guest.host)
            self._here.append(guest)
        if leaver is not None:
            leaver.end()
        try:
            yield
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._here.remove(guest)

    def _make_room(self, host: str) -> _Guest | None:
        """Takes the place of somebody, if there is none for this host."""
        count = Counter(guest.host for guest in self._here)
        if count[host] < self._of_a_host:
            if len(self._here) < self._places:
                return None
            host = max(count, key=lambda other: count[other])
        leaver = next(guest for guest in self._here if guest.host == host)
        self._here.remove(leaver)
        return leaver
