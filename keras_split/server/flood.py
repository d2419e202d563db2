"""So many lines of a log that one peer may cause; the others are counted."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from keras_split.server.limits import Bucket
from keras_split.server.limits import Buckets

_LOG = logging.getLogger("keras_split.server")
TRACEBACKS_AT_ONCE = 5  # of one peer
_PEERS = 256  # whose dropped lines are counted apart


class Flood:
    """Says which lines are too many, and counts them.

    Args:
        burst: Lines of one peer at once.
        per_s: How many of these it is given back each second.
        peers: So many times as much may come of all peers together.

    Example:
    >>> flood = Flood(burst=2, per_s=0.001)
    >>> [flood.take("ann") for _ in range(4)], flood.take("bob")
    ([True, True, False, False], True)
    >>> flood.dropped()
    {'ann': 2}
    """

    def __init__(
        self,
        burst: float = 10,
        per_s: float = 1,
        peers: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._each = Buckets(burst, per_s, clock)
        self._all = Bucket(burst * peers, per_s * peers, clock)
        self._due = Bucket(1, per_s, clock)
        self._dropped: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, peer: str) -> bool:
        """Whether a line of this peer may be written; if not, it counts."""
        with self._lock:
            if self._each.take(peer) and self._all.take():
                return True
            known = peer in self._dropped or len(self._dropped) < _PEERS
            self._dropped[peer if known else "others"] += 1
            return False

    def dropped(self, *, anyway: bool = True) -> dict[str, int]:
        """Lines that were dropped since the last time, by peer.

        Args:
            anyway: Whether to tell at once; else not more often than
                `per_s`, so that telling is no flood itself.
        """
        with self._lock:
            if not self._dropped or not (anyway or self._due.take()):
                return {}
            told = dict(self._dropped)
            self._dropped.clear()
            return told


class Tracebacks:
    """Logs what should not be raised; of each peer a few, and then seldom.

    Args:
        flood: Says which are too many.
    """

    def __init__(self, flood: Flood | None = None) -> None:
        self._flood = flood or Flood(TRACEBACKS_AT_ONCE, per_s=1 / 60)

    def log(self, peer: str, text: str) -> None:
        """Logs what was raised, unless this peer caused much of it lately.

        Args:
            peer: Whose message or call it was.
            text: What it was about.
        """
        if not self._flood.take(peer):
            return
        dropped = sum(self._flood.dropped().values())
        more = f" ({dropped} more since the last)" if dropped else ""
        _LOG.exception("%s%s", text, more)
