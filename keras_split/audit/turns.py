"""Time that is divided among those that take turns."""


class Turns:
    """Divides time among those that take turns.

    Each has an equal share of it. What one leaves passes on to those behind
    it, in equal parts. Who takes longer than it has takes that of what was
    left before it, and of nobody's share: all of it takes longer then.

    Args:
        seconds: For all of them.
        count: How many there are.

    Example:
    >>> turns = Turns(9.0, 3)
    >>> turns.next()
    3.0
    >>> turns.took(1.0)
    >>> turns.next()
    4.0
    >>> turns.took(60.0)
    >>> turns.next()
    3.0
    """

    def __init__(self, seconds: float, count: int) -> None:
        self._share = seconds / max(count, 1)
        self._count = count
        self._left = 0.0

    def next(self) -> float:
        """Seconds that the next one has."""
        return self._share + self._left / max(self._count, 1)

    def took(self, seconds: float) -> None:
        """It is over, and took so long."""
        self._count -= 1
        self._left = max(self._left + self._share - seconds, 0.0)
