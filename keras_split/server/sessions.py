"""The sessions that are open, whose they are, and who has to go."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from keras_split.errors import ProtocolError
from keras_split.server.callbacks import Caller
from keras_split.server.cohorts.mode import Reply
from keras_split.server.session import Session
from keras_split.server.session_state import not_open
from keras_split.utils.counted import counted

# A client that is gone so long may lose its place to a new one.
AWAY_S = 60.0


@dataclass
class _Place:
    session: Session
    account: str
    streams: int
    seen: float
    left: float | None = None
    waits: int = 0  # for replies to what it said

    @property
    def steps(self) -> int:
        return self.session.next_step

    @property
    def last(self) -> float:
        """When its client was there; without a stream, when it spoke."""
        return max(self.seen, self.left or 0.0)


class Sessions:
    """Sessions by name, with room for so many.

    Args:
        limit: Sessions at the same time.
        idle_s: A session that was silent for so long ends.
        ended: Called with a session that ends by itself, and why.
    """

    def __init__(
        self, limit: int, idle_s: float, ended: Callable[[Session, str], None]
    ) -> None:
        self._limit = limit
        self._idle_s = idle_s
        self._ended = ended
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        self._swept = time.monotonic()

    def __iter__(self) -> Iterator[Session]:
        with self._lock:
            return iter([place.session for place in self._places.values()])

    def __len__(self) -> int:
        return len(self._places)

    @staticmethod
    def name() -> str:
        """A new name, which nobody can guess."""
        return secrets.token_hex(16)

    def check_room(self, account: str = "") -> None:
        """Makes room for one more session.

        Of those whose client is gone, one goes that belongs to who has most
        sessions; never one of somebody who has fewer than who asks.

        Args:
            account: Who asks.

        Raises:
            ProtocolError: With reason `"busy"`, if nobody may be sent away.
        """
        self.sweep()
        with self._lock:
            if len(self._places) < self._limit:
                return
            place = self._least_missed(account)
            if place is None:
                raise ProtocolError(
                    f"Expected fewer than {counted(self._limit, 'session')} at "
                    "a time. Received: one more. Try again later.",
                    "busy",
                )
            del self._places[place.session.name]
        self._ended(place.session, "room")

    def add(
        self, session: Session, streams: int = 1, account: str = ""
    ) -> None:
        """Keeps a session; 0 streams for one that waits for its client."""
        now = time.monotonic()
        with self._lock:
            self._places[session.name] = _Place(
                session, account, streams, now, None if streams else now
            )

    def find(self, name: str, caller: Caller) -> Session:
        """The session of that name, if it is the caller's.

        Raises:
            ProtocolError: With reason `"session"` or `"permission"`.
        """
        now = time.monotonic()
        if now - self._swept > 1:
            self.sweep()
        with self._lock:
            place = self._places.get(name)
            if place is None:
                raise not_open()
            if place.session.client != caller.client:
                raise ProtocolError(
                    "Expected the client that opened the session. Received: "
                    "another one. Open a session of your own.",
                    "permission",
                )
            place.seen = now
            return place.session

    def join(self, name: str, caller: Caller) -> Session:
        """Like `find`, for a client that comes back to its session."""
        session = self.find(name, caller)
        with self._lock:
            place = self._places[name]
            place.account = caller.account
            place.streams += 1
            place.left = None
        return session

    def answered(self, name: str, make: Callable[[], Reply]) -> Reply:
        """What a session is told, which is not silent while it waits for that.

        Args:
            name: Of the session.
            make: Makes the reply, or a future of one that depends on others.
        """
        self._wait(name, 1)
        try:
            reply = make()
        except BaseException:
            self._wait(name, -1)
            raise
        if isinstance(reply, Future):
            reply.add_done_callback(lambda told: self._wait(name, -1))
        else:
            self._wait(name, -1)
        return reply

    def hear(self, name: str) -> None:
        """A part of a message came from the client of a session."""
        with self._lock:
            if place := self._places.get(name):
                place.seen = time.monotonic()

    def leave(self, name: str) -> Session | None:
        """One stream of a session ended; returns it if it was the last."""
        with self._lock:
            place = self._places.get(name)
            if place is None:
                return None
            place.streams -= 1
            if place.streams > 0:
                return None
            place.left = time.monotonic()
            return place.session

    def pop(self, name: str) -> Session | None:
        """Forgets a session and returns it."""
        with self._lock:
            place = self._places.pop(name, None)
        return place.session if place else None

    def sweep(self) -> None:
        """Ends sessions that were silent for too long."""
        self._swept = now = time.monotonic()
        with self._lock:
            silent = [
                place.session
                for place in self._places.values()
                if not place.waits and now - place.seen > self._idle_s
            ]
            for session in silent:
                del self._places[session.name]
        for session in silent:
            self._ended(session, "idle")

    def _wait(self, name: str, more: int) -> None:
        with self._lock:
            if place := self._places.get(name):
                place.waits += more
                place.seen = time.monotonic()

    def _least_missed(self, account: str) -> _Place | None:
        """Of those whose client is gone: without steps, or gone longest."""
        now = time.monotonic()
        has = Counter(p.account for p in self._places.values())
        gone = [
            p
            for p in self._places.values()
            if p.left is not None
            and not p.waits
            and has[p.account] >= has[account]
        ]
        return min(
            (p for p in gone if not p.steps or now - p.last > AWAY_S),
            key=lambda p: (-has[p.account], p.steps > 0, p.last),
            default=None,
        )
