"""What is kept of rows, by their digests, in so many bytes."""

from collections import OrderedDict
from typing import Generic
from typing import TypeVar

_V = TypeVar("_V")
ENTRY_BYTES = 256  # what an entry takes beside its row, on either side


class RowCache(Generic[_V]):
    """Keeps rows; the one not used for longest goes first.

    Phone and server ask and put in the same order, so that the phone, which
    keeps no rows, knows which the server has. A row over the limit is not
    kept, and pushes no other out.

    Args:
        limit_bytes: For all rows, and 256 bytes for each.

    Attributes:
        limit_bytes: The same.
        evicted: How many had to go so far.

    Example:
    >>> cache = RowCache(2 * (256 + 10))
    >>> for name in (b"a", b"b"):
    ...     cache.put(name, name, 10)
    >>> cache.get(b"a")
    b'a'
    >>> cache.put(b"c", b"c", 10)
    >>> cache.get(b"b"), len(cache)
    (None, 2)
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.evicted = 0
        self._nbytes = 0
        self._kept: OrderedDict[bytes, tuple[_V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, digest: bytes) -> _V | None:
        """What is kept by a digest, now the last to go; None if nothing is."""
        found = self._kept.get(digest)
        if found is None:
            return None
        self._kept.move_to_end(digest)
        return found[0]

    def put(self, digest: bytes, value: _V, nbytes: int) -> None:
        """Keeps something by a digest, now the last to go.

        Args:
            digest: Of the row.
            value: What is kept of it.
            nbytes: How long the row is.
        """
        cost = nbytes + ENTRY_BYTES
        if cost > self.limit_bytes:
            return
        before = self._kept.pop(digest, None)
        self._nbytes += cost - (before[1] if before else 0)
        self._kept[digest] = value, cost
        while self._nbytes > self.limit_bytes:
            _, (_, gone) = self._kept.popitem(last=False)
            self._nbytes -= gone
            self.evicted += 1
