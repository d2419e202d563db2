"""An average of vectors that the server cannot read."""

import logging
import threading
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from keras_split.errors import BackendError
from keras_split.errors import ProtocolError
from keras_split.protocol import vectors
from keras_split.protocol.cohort_messages import STAGES
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Refusal
from keras_split.server.cohorts.aggregation import Aggregation
from keras_split.server.cohorts.aggregation import Average
from keras_split.server.cohorts.aggregation import Task
from keras_split.server.cohorts.alarm import ALARM
from keras_split.server.cohorts.alarm import Call
from keras_split.server.cohorts.config import MOST_SECURE
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.gathering import Gathering
from keras_split.server.cohorts.mode import Reply
from keras_split.utils import workers
from keras_split.utils.extras import install

_LOG = logging.getLogger("keras_split.server")
_Vector = np.ndarray[Any, Any]
_Blobs = Mapping[int, bytes]


class Secure(Aggregation):
    """An average of vectors that the server cannot read.

    Members go through `STAGES` together. Who gives nothing at one of them is
    left out from then on; with more than half of those that gave keys it
    comes to an end. See `keras_split.aggregation.secure_phone`.

    Args:
        config: As in `Aggregation`.
        task: Likewise.

    Raises:
        BackendError: If the packages for it are missing.
    """

    fewest, most = 2, MOST_SECURE

    def __init__(self, config: CohortConfig, task: Task) -> None:
        super().__init__(config, task)
        self._sum = _secure_sum()(
            task.cohort, task.round, task.size, config.bits
        )
        self._lock = threading.Lock()
        self._lost: set[int] = set()
        self._gatherings: list[Gathering[Any]] = []
        self._timer: Call | None = None
        self._over = False  # without an average
        self._finishes = False
        self._closes = (self._keys, self._shares, self._value, self._unmask)
        self._open(task.members)

    def give(self, member: int, message: Contribution) -> Reply:
        """What a member gives at a stage; resolves with a `Gathered`.

        Raises:
            ProtocolError: With reason `"late"`, if it is left out; `"order"`,
                if that stage is yet to come, for a server that was started
                again: the member begins with its keys then.
        """
        if message.stage not in STAGES:
            raise ProtocolError(
                f"Expected a stage of {', '.join(STAGES)}. Received: "
                f"{message.stage[:40]!r}."
            )
        index = STAGES.index(message.stage)
        with self._lock:
            latest = len(self._gatherings) - 1
            other = message.round != self._task.round
            if other or index > latest:
                over = self._over or other
                raise ProtocolError(
                    f"Expected {STAGES[latest]} of average {self._task.round}. "
                    f"Received: {message.stage} of {message.round}. "
                    + ("Ask for the next." if over else "Begin with keys."),
                    "late" if over else "order",
                )
            gathering = self._gatherings[index]
        if index < latest:  # again, for a reply that was lost
            return gathering.give(member, None)
        try:
            value = self._read(member, message)
        except ProtocolError:
            gathering.lose(member)
            raise
        return gathering.give(member, value)

    def lose(self, member: int) -> None:
        """Nobody waits for a member any more.

        What it gave at a stage that is not over counts, for that stage.
        """
        with self._lock:
            self._lost.add(member)
            gathering = self._gatherings[-1]
        gathering.lose(member)
        if not gathering.expected:
            gathering.expire()

    # -- stages --------------------------------------------------------------

    def _read(self, member: int, message: Contribution) -> Any:
        """What a message gives, if it can be that."""
        blobs = message.blobs
        if message.stage == "keys":
            keys = blobs.get(member, b"")
            self._sum.check_keys(keys)
            return keys
        if message.stage == "shares":
            self._sum.check_shares(member, blobs)
            return blobs
        if message.stage == "value":
            return vectors.from_tensors(message.tensors, *self._sum.shape)
        self._sum.check_unmask(member, blobs)
        return blobs

    def _keys(self, given: _Blobs) -> Mapping[int, Message]:
        roster = self._sum.keys(given)
        refusal = Refusal(
            "protocol",
            "Expected keys of the phone's own. Received: those of another. "
            "Draw new ones for each average.",
        )
        told = self._next({member: roster for member in roster})
        return {**dict.fromkeys(given, refusal), **told}

    def _shares(self, given: Mapping[int, _Blobs]) -> Mapping[int, Message]:
        return self._next(self._sum.shares(given))

    def _value(self, given: Mapping[int, _Vector]) -> Mapping[int, Message]:
        self._sum.values(given)
        return self._next({member: {} for member in given})

    def _unmask(self, given: Mapping[int, _Blobs]) -> Mapping[int, Message]:
        average = Average(*self._sum.mean(given))
        self._finishes = True
        gathered = self._task.finish(average)
        return dict.fromkeys(given, replace(gathered, stage="unmask"))

    def _next(self, blobs: Mapping[int, _Blobs]) -> Mapping[int, Message]:
        """Opens the next stage, and says what became of this one."""
        stage = STAGES[len(self._gatherings) - 1]
        members = self._sum.members
        self._open(members)
        return {
            member: Gathered(self._task.round, stage, members, blobs=of_member)
            for member, of_member in blobs.items()
        }

    # -- waiting -------------------------------------------------------------

    def _open(self, members: Iterable[int]) -> None:
        deadline_s = self._config.round_deadline_s
        with self._lock:
            index = len(self._gatherings)
            close = self._closes[index]

            def end(given: Mapping[int, Any]) -> Mapping[int, Message]:
                if self._timer is not None:
                    self._timer.cancel()
                try:
                    return close(given)
                except BaseException:
                    self._over = True
                    self._say_spoilers()
                    if not self._finishes:  # or it has been told already
                        self._task.give_up()
                    raise

            gathering: Gathering[Any] = Gathering(
                set(members) - self._lost,
                deadline_s,
                end,
                f"{STAGES[index]} of average {self._task.round}",
            )
            self._gatherings.append(gathering)
            if index:  # for keys nobody knows when the first one comes
                self._timer = ALARM.after(
                    deadline_s if gathering.expected else 0.0,
                    lambda: workers.start(gathering.expire),
                )

    def _say_spoilers(self) -> None:
        if self._sum.spoilers:
            _LOG.warning(
                "average %d of the cohort failed: members %s gave shares that "
                "could not take off their masks",
                self._task.round,
                sorted(self._sum.spoilers),
            )


def _secure_sum() -> Any:
    try:
        from keras_split.aggregation.secure_sum import SecureSum
    except ImportError as error:
        raise BackendError(
            "Expected the packages cryptography and pycryptodome, to add up "
            f"under masks. Received: {error}. Run: {install('federation')}; or "
            "serve with --plain-aggregation."
        ) from error
    return SecureSum
