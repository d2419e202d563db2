"""What each client has and uses: bytes, sessions, waiting steps, rates."""

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Iterator

from keras_split.server.callbacks import Caller
from keras_split.server.limits import Bucket
from keras_split.server.limits import Budget
from keras_split.server.limits import StreamLimits

_KEYS = 4096  # callers remembered; the one not seen for longest goes first
# Steps that wait and are given up: each costs a kilobyte and a half of
# TensorFlow for good. So many at once, and then one a minute.
GIVEN_UP_BURST = 30
_GIVEN_UP_PER_S = 1 / 60
_SHARE = 4  # of what all may have in flight, a client has one in four
# Seconds that a body computed in vain for a client, or wrote files only for it:
# so many are free, and then a tenth of the time. A message of who took more
# waits, so long at most, if others are there: who asked within a minute.
FREE_S = 2.0
_VAIN_PER_S = 0.1
LONGEST_PAUSE_S = 2.0
# What a call costs beside them, such as one for a session, or that is refused.
CALL_S = 0.005
_THERE_S = 60.0


class Account:
    """What one client has and uses; one host, where nobody is asked.

    All its connections and sessions are counted here together.

    Args:
        limits: What it may do.
        whole: What all clients may have in flight.
        longest_bytes: The longest message, which is always let through if
            there is nothing else.
        clock: Gives the time in seconds.

    Attributes:
        hellos: Sessions that it may ask for.
        messages: Those that it may send without a stream.
        inflight: Its part of what may be in flight.
        seen: When it asked last.
    """

    def __init__(
        self,
        limits: StreamLimits | None = None,
        whole: Budget | None = None,
        longest_bytes: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        limits = limits or StreamLimits()
        self.hellos = Bucket(limits.hello_burst, limits.hellos_per_s)
        self.messages = Bucket(limits.messages_per_s, limits.messages_per_s)
        part = max(limits.max_inflight_bytes // _SHARE, longest_bytes)
        self.inflight = Budget(part, whole)
        self._given_up = Bucket(GIVEN_UP_BURST, _GIVEN_UP_PER_S)
        self._clock = clock
        self._lock = threading.Lock()
        self._vain_s, self._at = 0.0, clock()
        self.seen = self._at

    @property
    def may_wait(self) -> bool:
        """Whether its steps may wait for their gradients in memory.

        Not if it has given up too many of them; then they are computed anew,
        which is at its own cost.
        """
        return not self._given_up.empty

    def given_up(self) -> None:
        """A step of it that waited in memory came to nothing."""
        self._given_up.take()

    def in_vain(self, seconds: float = 0.0) -> None:
        """A call came to nothing, for which a body has computed so long."""
        with self._lock:
            self._vain_s = self._owed() + seconds + CALL_S

    @contextlib.contextmanager
    def charged(self) -> Iterator[None]:
        """Counts the time in it, as that which was computed in vain."""
        began = self._clock()
        try:
            yield
        finally:
            self.in_vain(self._clock() - began)

    @property
    def pause_s(self) -> float:
        """How long its next message has to wait, if others are there."""
        with self._lock:
            over = self._owed() - FREE_S
        return min(max(over / _VAIN_PER_S, 0.0), LONGEST_PAUSE_S)

    def _owed(self) -> float:
        now = self._clock()
        self._vain_s -= (now - self._at) * _VAIN_PER_S
        self._vain_s, self._at = max(self._vain_s, 0.0), now
        return self._vain_s


class Accounts:
    """The account of each client; for several threads at once.

    Args:
        limits: What each may do.
        longest_bytes: The longest message of one.
        clock: Gives the time in seconds.
    """

    def __init__(
        self,
        limits: StreamLimits | None = None,
        longest_bytes: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or StreamLimits()
        self._longest_bytes = longest_bytes
        self._clock = clock
        self._whole = Budget(self._limits.max_inflight_bytes)
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, caller: Caller) -> Account:
        """The account of who calls."""
        key = caller.account
        with self._lock:
            found = self._accounts.pop(key, None)
            if found is None:
                found = Account(
                    self._limits, self._whole, self._longest_bytes, self._clock
                )
            self._accounts[key] = found
            found.seen = self._clock()
            if len(self._accounts) > _KEYS:
                self._accounts.popitem(last=False)
            return found

    def pause_s(self, caller: Caller) -> float:
        """How long what a caller asks next has to wait before its turn.

        Not at all where nobody else is there, and where nobody knows who
        calls: of a host it could be somebody else's doing.
        """
        account = self.of(caller)
        if caller.client and self._others(caller.account):
            return account.pause_s
        return 0.0

    def _others(self, key: str) -> bool:
        with self._lock:  # the last two at most are looked at
            seen = next(
                (
                    a.seen
                    for k, a in reversed(self._accounts.items())
                    if k != key
                ),
                float("-inf"),
            )
        return self._clock() - seen < _THERE_S
