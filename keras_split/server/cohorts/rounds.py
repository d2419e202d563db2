"""Rounds: phones train for a while, each by itself, and then average."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from typing import Protocol

import numpy as np

from keras_split.errors import ProtocolError
from keras_split.protocol import vectors
from keras_split.protocol.cohort_messages import BeginRound
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.cohort_messages import RoundBegun
from keras_split.protocol.messages import Message
from keras_split.protocol.moment import Moment
from keras_split.server.callbacks import RoundEnded
from keras_split.server.callbacks import ServerCallback
from keras_split.server.cohorts import aggregations
from keras_split.server.cohorts import round_words
from keras_split.server.cohorts.aggregation import Aggregation
from keras_split.server.cohorts.aggregation import Average
from keras_split.server.cohorts.aggregation import Task
from keras_split.server.cohorts.alarm import ALARM
from keras_split.server.cohorts.alarm import Call
from keras_split.server.cohorts.along import Along
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.draws import Draws
from keras_split.server.cohorts.half import CohortHalf
from keras_split.server.cohorts.members import Member
from keras_split.server.cohorts.members import Members
from keras_split.server.cohorts.mode import Reply
from keras_split.server.cohorts.patience import tell_silent
from keras_split.server.cohorts.server_optimizer import ServerOptimizer
from keras_split.server.cohorts.waiting import WaitingRoom
from keras_split.utils import workers

_LOG = logging.getLogger("keras_split.server")


class Keeper(Protocol):
    """Keeps what outlives the server: the bodies."""

    def turn(self) -> contextlib.AbstractContextManager[object]:
        """Surrounds a change, so that all of it is kept, or nothing."""

    def write_cohort(self) -> None:
        """Writes it now, within a turn."""

    @property
    def moment(self) -> Moment:
        """Of the body that all train; empty if each phone has its own."""


class Rounds:
    """The rounds of a cohort.

    One begins when the phones that are there, or may be back soon
    (`Absences`), have asked for it, the first when as many are there as are
    expected; nobody waits longer than a round's deadline for one that is
    silent. It ends when those that were drawn have contributed, or may not
    any more: who comes too late, or is lost, is in the next one again.

    What it waits for, it waits for without a thread. Locks are taken in this
    order: a turn of the keeper, then the one here.

    Args:
        config: How many train, and how long others wait for them.
        members: Who is there.
        half: What they average.
        keeper: Keeps all of it.
        events: Hears of begins and ends.
        along: What else belongs to a round.

    Attributes:
        number: Of the round that runs, or of the next one.
        running: Who trains in it; nobody between rounds.
        gave: Which of these have begun to contribute, and wait for others.
    """

    def __init__(
        self,
        config: CohortConfig,
        members: Members,
        half: CohortHalf,
        keeper: Keeper,
        events: ServerCallback | None = None,
        along: Along | None = None,
    ) -> None:
        self._config = config
        self._members = members
        self._half = half
        self._keeper = keeper
        self._events = events or ServerCallback()
        self._along = along or Along()
        self._kind = aggregations.of(config)
        most = (config.round_phones, self._kind.most)
        self._most = min((n for n in most if n is not None), default=None)
        self._draws = Draws(config.seed)
        self._lock = threading.RLock()
        self._waiting = WaitingRoom()
        self._asked: dict[int, int] = {}  # with the version of its half
        self.gave: set[int] = set()
        self._silent: set[int] = set()  # who lets others wait in vain
        self._timer: Call | None = None
        self._alone = False  # too few are there, and are told if it stays so
        self._aggregation: Aggregation | None = None
        self._before: tuple[int, Aggregation] | None = None
        self._told: Gathered | None = None
        self._began = 0.0
        self._optimizer = ServerOptimizer()
        self.number = 0
        self.running: frozenset[int] = frozenset()

    # -- what phones say -----------------------------------------------------

    def answer(self, message: Message, member: Member) -> Reply | None:
        """The reply to a message that is about rounds; None to another one.

        Raises:
            ProtocolError: With reason `"late"`, if it is of a round that went
                on without its phone.
        """
        if isinstance(message, BeginRound):
            return self._begin(message, member.number)
        if isinstance(message, Contribution):
            return self._contribute(message, member.number)
        return None

    def came(self, member: Member) -> None:
        """A member enrolled, or came back."""
        if self._half.version >= 0:  # until then others may say otherwise
            self._optimizer.prepare(member.enrolled)
        with self._lock:
            there = {other.number for other in self._members.awaited}
            self._draws.came(member.number, there)
            self._draws.forget_but({other.number for other in self._members})
        self._start()

    def left(self, member: Member) -> None:
        """A member's client is gone; it asks again when it is back."""
        with self._lock:
            self._asked.pop(member.number, None)

    def lost(self, member: Member) -> None:
        """Nobody waits for a member any more."""
        number = member.number
        with self._lock:
            aggregation = self._aggregation if number in self.running else None
        # Not here: whoever says goodbye has the turn of its body.
        if aggregation is not None:
            workers.start(lambda: aggregation.lose(number))
        workers.start(self._start)  # others may have waited for it alone

    def _begin(self, message: BeginRound, number: int) -> Reply:
        with self._lock:
            if number in self.running - self.gave:
                # Its reply was lost, or it was about to ask again.
                return self._begun(message.version)
            self._silent.discard(number)
            self._asked[number] = message.version
            aggregation = self._aggregation if number in self.gave else None
        if aggregation is not None:
            # It was started again between two stages of a secure average.
            aggregation.lose(number)
        future = self._waiting.wait(number)
        self._start()
        return future

    def _contribute(self, message: Contribution, number: int) -> Reply:
        with self._lock:
            aggregation = self._of(message.round)
            told = self._told
        if aggregation is not None:
            reply = aggregation.give(number, message)
            with self._lock:
                if message.round == self.number:
                    self.gave.add(number)
            return reply
        if (
            told is not None
            and message.round == told.round
            and number in told.members
        ):
            return replace(told, stage=message.stage)
        raise round_words.late(message.round, self.number)

    def _of(self, round: int) -> Aggregation | None:
        """What takes contributions to a round; the lock must be held."""
        if round == self.number:
            return self._aggregation
        before = self._before
        return before[1] if before is not None and before[0] == round else None

    # -- begin ---------------------------------------------------------------

    def _start(self, *, anyway: bool = False) -> None:
        """Begins a round if it can.

        Args:
            anyway: Whether nobody waits any longer for those who are silent.
        """
        with self._lock:
            if not self._can_start(anyway):
                return
        with self._keeper.turn():
            with self._lock:
                if not self._can_start(anyway):
                    return
                drawn = self._draws.draw(self.number, self._asked, self._most)
                asked = {number: self._asked.pop(number) for number in drawn}
                self._open(drawn)
                begun = {n: self._begun(has) for n, has in asked.items()}
                if self._timer is not None:
                    self._timer.cancelled = True
                    self._timer = None
            self._along.begun(drawn)
            self._write()
        self._events.round_begun(begun[drawn[0]].round, drawn)
        for number, reply in begun.items():
            self._waiting.tell(number, reply)

    def _can_start(self, anyway: bool) -> bool:
        """Whether a round begins now; the lock must be held."""
        if self.running or self._half.version < 0:
            return False
        here = {member.number for member in self._members.present}
        if self.number == 0 and len(here) < self._config.phones:
            return False
        for gone in self._asked.keys() - here:
            del self._asked[gone]
        if len(self._asked) < self._kind.fewest:
            if self._asked and len(self._members.awaited) < self._kind.fewest:
                self._end_alone()
            return False
        awaited = {member.number for member in self._members.awaited}
        awaited -= self._asked.keys() | self._silent
        if awaited and anyway:
            tell_silent(f"round {self.number}", awaited)
            self._silent |= awaited
            return True
        if awaited and self._timer is None:
            number = self.number

            def expire() -> None:
                with self._lock:
                    if self.number != number:
                        return
                    self._timer = None
                self._start(anyway=True)

            self._timer = _later(self._config.round_deadline_s, expire)
        return not awaited

    def _end_alone(self) -> None:
        """Tells phones that are too few, and stay so; the lock must be held."""
        if self._alone or self.number == 0:
            return  # at first all are awaited that are expected
        self._alone = True

        def end() -> None:
            with self._lock:
                self._alone = False
                if len(self._members.awaited) >= self._kind.fewest:
                    return
                told = [*self._asked]
                self._asked.clear()
            for number in told:
                self._waiting.tell(number, round_words.alone(self._kind.fewest))

        _later(self._config.round_deadline_s, end)

    def _open(self, drawn: Iterable[int]) -> None:
        """A round is open for contributions; the lock must be held."""
        self.running = frozenset(drawn)
        number = self.number
        size = 0 if self._half.vector is None else self._half.vector.size
        self._began = time.monotonic()
        self._aggregation = self._kind(
            self._config,
            Task(
                self._members.cohort,
                number,
                size,
                self.running,
                self._finish,
                lambda: self._give_up(number),
            ),
        )

    def _begun(self, version: int) -> RoundBegun:
        version, tensors = self._half.since(version)
        return RoundBegun(self.number, version, tensors)

    # -- end -----------------------------------------------------------------

    def _finish(self, average: Average) -> Gathered:
        """All have contributed: halves become one."""
        seconds = time.monotonic() - self._began
        try:
            with self._keeper.turn():
                with self._lock:
                    told = self._moved(average)
                    dropped = sorted(self.running - set(average.members))
                    self._close(told)
                    self._silent |= set(dropped) - self._asked.keys()
                self._along.ended(average)
                self._write()
            self._along.written()
        except BaseException:
            self._give_up(self.number)
            raise
        self._events.round_ended(
            RoundEnded(
                told.round, average.members, dropped, seconds, told.version
            )
        )
        self._start()
        return told

    def _moved(self, average: Average) -> Gathered:
        """The half is another one; the lock must be held."""
        before = self._half.vector
        assert before is not None
        change = self._optimizer.change(before, average.vector)
        with np.errstate(over="ignore"):
            after = before + change  # as every phone does
        if not np.isfinite(after).all():
            raise ProtocolError(
                "Expected finite numbers in the average of a round. Received: "
                "infinity. Lower the learning rate, or that of the optimizer "
                "of the average.",
                "not-finite",
            )
        self._half.put(self._half.version + 1, after)
        return Gathered(
            self.number,
            "value",
            average.members,
            self._half.version,
            average.weight,
            vectors.to_tensors(change),
            moment=self._keeper.moment,
        )

    def _close(self, told: Gathered | None) -> None:
        """Nothing runs any more; the lock must be held."""
        if self._aggregation is not None:
            self._before = self.number, self._aggregation
        self._told = told
        self._aggregation = None
        self.gave.clear()
        self.running = frozenset()
        self.number += 1

    def _give_up(self, number: int) -> None:
        """There is no average of a round: all have left it, or it failed."""
        with self._lock:
            if number != self.number or not self.running:
                return
            lost = sorted(self.running)
            self._close(None)
        _LOG.warning("round %d ends without an average", number)
        self._events.round_ended(
            RoundEnded(number, (), lost, version=self._half.version)
        )
        self._start()

    # -- what outlives the server ---------------------------------------------

    def _write(self) -> None:
        try:
            self._keeper.write_cohort()
        except ProtocolError as error:
            _LOG.error("the cohort goes on, but is not kept: %s", error)

    def state(self) -> dict[str, Any]:
        """Plain values and arrays, from which another server goes on."""
        with self._lock:
            told = self._told
            return {
                "number": self.number,
                "running": sorted(self.running),
                "draws": self._draws.state(),
                "slots": self._optimizer.slots(),
                "told": told
                and {
                    "round": told.round,
                    "members": list(told.members),
                    "version": told.version,
                    "weight": told.weight,
                    "change": told.tensors[0].codes[0],
                    "moment": told.moment.get_config(),
                },
            }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave; who was in a round still is."""
        with self._lock:
            self.number = state["number"]
            self._draws.load(state["draws"])
            self._optimizer.load(state["slots"])
            told = state["told"]
            if told:
                self._told = Gathered(
                    told["round"],
                    "value",
                    told["members"],
                    told["version"],
                    told["weight"],
                    vectors.to_tensors(told["change"]),
                    moment=Moment.get(told.get("moment")),
                )
            if not state["running"]:
                return
            self._open(state["running"])
            aggregation, running = self._aggregation, self.running
        assert aggregation is not None

        def lose_absent() -> None:
            # Who has a session is lost in time; others open one, or do not.
            awaited = {member.number for member in self._members.awaited}
            for number in running - awaited:
                aggregation.lose(number)

        _later(self._config.return_deadline_s, lose_absent)


def _later(seconds: float, call: Callable[[], None]) -> Call:
    """Calls in a thread that may wait, as that of alarms may not."""
    return ALARM.after(seconds, lambda: workers.start(call))
