"""Memory for what is being received, shared by all streams."""

import threading


class Budget:
    """A bound on the bytes of messages in flight, over all streams.

    Args:
        limit_bytes: What they may take together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> bool:
        """Sets bytes aside; False if there is no room for them."""
        with self._lock:
            if nbytes > self._left:
                return False
            self._left -= nbytes
            return True

    def give_back(self, nbytes: int) -> None:
        """Returns bytes that were set aside."""
        with self._lock:
            self._left += nbytes


class Share:
    """What one stream has of a budget. Used by one thread.

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

    def free(self) -> None:
        """Gives back all that was taken."""
        self._budget.give_back(self._held)
        self._held = 0
