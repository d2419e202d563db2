"""What the connection of each session carried."""

import threading


class Traffic:
    """Sums bytes by session, from any thread.

    Only sessions that are expected are summed, so that nothing is kept of
    those that are gone.

    Example:
    >>> traffic = Traffic()
    >>> traffic.expect("a")
    >>> traffic.add("a", uplink=30, downlink=4)
    >>> traffic.take("a")
    {'uplink_bytes': 30, 'downlink_bytes': 4}
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many sessions are expected."""
        return len(self._sums)

    def expect(self, session: str) -> None:
        """Sums what a session carries from now on."""
        with self._lock:
            self._sums.setdefault(session, (0, 0))

    def add(self, session: str, uplink: int, downlink: int) -> None:
        """Its connection carried so many bytes."""
        with self._lock:
            if (before := self._sums.get(session)) is not None:
                self._sums[session] = before[0] + uplink, before[1] + downlink

    def take(self, session: str) -> dict[str, int]:
        """The sums since the last time, of which the next are counted."""
        with self._lock:
            sums = self._sums.get(session, (0, 0))
            if session in self._sums:
                self._sums[session] = (0, 0)
        return _named(sums)

    def take_last(self, session: str) -> dict[str, int]:
        """The same of a session that is gone: nothing more is summed."""
        with self._lock:
            return _named(self._sums.pop(session, (0, 0)))


def _named(sums: tuple[int, int]) -> dict[str, int]:
    return {"uplink_bytes": sums[0], "downlink_bytes": sums[1]}
