"""Counts what a server does, for whoever shows it."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass

from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.moment import Moment
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.status import SessionStatus
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import RoundEnded
from keras_split.server.callbacks import ServerCallback
from keras_split.server.callbacks import StepCommitted
from keras_split.server.callbacks import StepMerged
from keras_split.server.observe.cohort_tally import CohortTally
from keras_split.server.observe.reasons import OTHER
from keras_split.server.observe.reasons import known
from keras_split.server.observe.stopwatch import Stopwatch

_CLOSED = ("goodbye", "idle", "room", "stopped")


@dataclass
class _Count:
    """What is counted of one open session."""

    seen: float
    caller: Caller = Caller()
    steps: int = 0
    uplink: int = 0
    downlink: int = 0
    connected: bool = False
    moment: Moment = Moment()


class StatusCollector(ServerCallback):
    """Keeps totals, and one row for each session that is open.

    All that is shown of a server is counted here and nowhere else: what
    `keras-split status`, the dashboard and Prometheus tell is the same.

    Args:
        fingerprint: Of the model that is served.
        cut: The layers after which it is cut.
        moment: Tells which moment its body is of.
        inference_only: Whether the server trains nothing.

    Attributes:
        cohort: Tells what phones hear of their cohort; None without one.
    """

    def __init__(
        self,
        fingerprint: str,
        cut: Sequence[str],
        moment: Callable[[], Moment] = Moment,
        inference_only: bool = False,
    ) -> None:
        self._moment = moment
        self._fingerprint = fingerprint
        self._cut = tuple(cut)
        self._inference_only = inference_only
        self._began = time.monotonic()
        self._saved: float | None = None
        self._draining = False
        self._total = _Count(self._began)
        self._sessions: dict[str, _Count] = {}
        self._refusals: Counter[str] = Counter()
        self._opened = self._resumed = 0
        self._closed: Counter[str] = Counter()
        self._queue, self._compute = Stopwatch(), Stopwatch()
        self._checkpoints = Stopwatch()
        self._lock = threading.Lock()
        self._phones = CohortTally()
        self.cohort: Callable[[], CohortInfo | None] = lambda: None

    def status(self) -> ServerStatus:
        """What there is to tell now."""
        info = self.cohort()
        cohort = None if info is None else self._phones.status(info)
        with self._lock:
            now = time.monotonic()
            return ServerStatus(
                fingerprint=self._fingerprint,
                cut=self._cut,
                uptime_s=now - self._began,
                steps=self._total.steps,
                uplink_bytes=self._total.uplink,
                downlink_bytes=self._total.downlink,
                sessions=tuple(
                    SessionStatus(
                        label=session,
                        client=count.caller.client,
                        peer=count.caller.peer,
                        steps=count.steps,
                        uplink_bytes=count.uplink,
                        downlink_bytes=count.downlink,
                        idle_s=now - count.seen,
                        connected=count.connected,
                        moment=count.moment,
                    )
                    for session, count in self._sessions.items()
                ),
                refusals=dict(self._refusals),
                checkpoint_age_s=(
                    None if self._saved is None else now - self._saved
                ),
                draining=self._draining,
                memory_bytes=resident_bytes(),
                moment=self._moment(),
                inference_only=self._inference_only,
                cohort=cohort,
                queue_times=self._queue.times,
                compute_times=self._compute.times,
                checkpoint_times=self._checkpoints.times,
                sessions_opened=self._opened,
                sessions_resumed=self._resumed,
                sessions_closed=dict(self._closed),
            )

    def opened(self, session: str, caller: Caller) -> None:
        """Adds a session."""
        with self._lock:
            self._opened += 1
            self._sessions[session] = _Count(
                time.monotonic(), caller, connected=True
            )

    def resumed(self, session: str, caller: Caller, step: int) -> None:
        """Notes who came back, and from where."""
        with self._lock:
            self._resumed += 1
            if count := self._sessions.get(session):
                count.seen = time.monotonic()
                count.caller, count.steps, count.connected = caller, step, True

    def left(self, session: str) -> None:
        """Notes that nobody is there."""
        with self._lock:
            if count := self._sessions.get(session):
                count.connected = False

    def closed(self, session: str, reason: str) -> None:
        """Drops a session; the totals keep what it did."""
        with self._lock:
            self._closed[reason if reason in _CLOSED else OTHER] += 1
            self._sessions.pop(session, None)

    def committed(self, taken: StepCommitted) -> None:
        """Counts a step."""
        with self._lock:
            self._total.steps += 1
            self._queue.add(taken.queue_s)
            self._compute.add(taken.compute_s)
            if count := self._sessions.get(taken.session):
                count.steps = taken.step + 1
                count.moment = taken.moment
                count.seen = time.monotonic()

    def carried(self, session: str, uplink: int, downlink: int) -> None:
        """Counts bytes."""
        with self._lock:
            self._total.uplink += uplink
            self._total.downlink += downlink
            if count := self._sessions.get(session):
                count.uplink += uplink
                count.downlink += downlink
                count.seen = time.monotonic()

    def refused(self, session: str, caller: Caller, reason: str) -> None:
        """Counts a refusal."""
        with self._lock:
            self._refusals[known(reason)] += 1

    def checkpointed(self, path: str, seconds: float) -> None:
        """Notes the time, and how long it took."""
        with self._lock:
            self._saved = time.monotonic()
            self._checkpoints.add(seconds)

    def stopping(self) -> None:
        """Says so from now on."""
        self._draining = True

    def loaded(self, path: str, sessions: dict[str, int]) -> None:
        """Adds the sessions that wait for their clients."""
        now = self._saved = time.monotonic()
        with self._lock:
            for session, step in sessions.items():
                self._sessions[session] = _Count(now, steps=step)

    def enrolled(self, session: str, member: int) -> None:
        """Notes who is in the cohort."""
        self._phones.enrolled(session, member)

    def away(self, session: str, member: int) -> None:
        """Notes who is gone."""
        self._phones.away(member)

    def merged(self, taken: StepMerged) -> None:
        """Counts a merged step."""
        self._phones.merged(taken)

    def round_ended(self, ended: RoundEnded) -> None:
        """Counts a round."""
        self._phones.round_ended(ended)


def resident_bytes() -> int:
    """Memory of this process that is in use; 0 where Linux is not."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
