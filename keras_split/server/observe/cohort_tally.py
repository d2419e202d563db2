"""Counts what the phones of a cohort do, for `keras-split status`."""

import threading
from collections import deque

from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.status import CohortStatus
from keras_split.protocol.status import RoundStatus
from keras_split.server.callbacks import RoundEnded
from keras_split.server.callbacks import StepMerged
from keras_split.server.observe.stopwatch import Stopwatch

_RECENT = 16


class CohortTally:
    """Who is in, and how the last round or merged step went."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[int] = set()
        self._present: dict[int, str] = {}
        self._steps, self._rounds = Stopwatch(), Stopwatch()
        self._left_out = 0
        self._recent: deque[RoundStatus] = deque(maxlen=_RECENT)

    def status(self, info: CohortInfo) -> CohortStatus:
        """What there is to tell now of the cohort that phones hear of."""
        with self._lock:
            last = self._recent[-1] if self._recent else RoundStatus(-1)
            steps, rounds = self._steps.times, self._rounds.times
            return CohortStatus(
                name=info.name,
                mode=info.mode,
                phones=info.phones,
                secure=info.secure,
                members=len(self._known),
                present=dict(sorted(self._present.items())),
                number=last.number,
                steps=steps.count,
                rounds=rounds.count,
                last_s=last.seconds,
                last_dropped=last.dropped,
                left_out=self._left_out,
                step_times=steps,
                round_times=rounds,
                recent=tuple(self._recent),
            )

    def enrolled(self, session: str, member: int) -> None:
        """One is in."""
        with self._lock:
            self._known.add(member)
            self._present[member] = session

    def away(self, member: int) -> None:
        """One is gone."""
        with self._lock:
            self._present.pop(member, None)

    def merged(self, taken: StepMerged) -> None:
        """Counts a step."""
        with self._lock:
            self._steps.add(taken.seconds)
            self._keep(taken.step, taken, merged=True)

    def round_ended(self, ended: RoundEnded) -> None:
        """Counts a round."""
        with self._lock:
            self._rounds.add(ended.seconds)
            self._keep(ended.round, ended, merged=False)

    def _keep(
        self, number: int, what: StepMerged | RoundEnded, *, merged: bool
    ) -> None:
        self._left_out += len(what.dropped)
        self._recent.append(
            RoundStatus(
                number,
                merged,
                what.seconds,
                tuple(what.members),
                tuple(what.dropped),
            )
        )
