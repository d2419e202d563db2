"""The phones of one server that train one model."""

import threading
import time
from collections.abc import Collection
from dataclasses import asdict
from typing import TYPE_CHECKING

from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.protocol import vectors
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.cohort_messages import AskShare
from keras_split.protocol.cohort_messages import BeginRound
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Enroll
from keras_split.protocol.cohort_messages import Enrolled
from keras_split.protocol.cohort_messages import Later
from keras_split.protocol.cohort_messages import Leave
from keras_split.protocol.cohort_messages import PutHalf
from keras_split.protocol.messages import Backward
from keras_split.protocol.messages import Done
from keras_split.protocol.messages import Forward
from keras_split.protocol.messages import LabeledStep
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Restore
from keras_split.server.callbacks import label
from keras_split.server.cohorts import enrolling
from keras_split.server.cohorts import server_optimizer
from keras_split.server.cohorts.absences import Absences
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.half import CohortHalf
from keras_split.server.cohorts.members import Member
from keras_split.server.cohorts.members import Members
from keras_split.server.cohorts.mode import Mode
from keras_split.server.cohorts.mode import Reply
from keras_split.server.cohorts.waiting import WaitingRoom
from keras_split.server.storage.cohort_state import CohortState

if TYPE_CHECKING:
    from keras_split.server.bodies import Bodies
    from keras_split.server.callbacks import ServerCallback
    from keras_split.server.session import Session

_TRAINS = (
    *(Forward, Backward, LabeledStep),
    *(AskShare, BeginRound, Contribution, PutHalf),
)


class Cohort:
    """The phones of one server that train one model.

    Members enroll, and get the half that the others have; the first one gives
    its own. What they do then is their mode's.

    Args:
        config: How they train.
        mode: What they do.
        half: What they have in common.
        members: Who they are.
        bodies: What they train, and where the cohort is kept.
        events: Hears who comes and goes.

    Attributes:
        config: The same.
        mode: The same.
        half: The same.
        members: Who they are.
        terms: How halves are averaged; None until the first has enrolled.
        size: Numbers in the vector of a half.
        layout: SHA-256 of what they are.
    """

    def __init__(
        self,
        config: CohortConfig,
        mode: Mode,
        half: CohortHalf,
        members: Members,
        bodies: "Bodies",
        events: "ServerCallback",
    ) -> None:
        self.config = config
        self.mode = mode
        self.half = half
        self.members = members
        self._bodies = bodies
        self._events = events
        self.terms: AveragingTerms | None = None
        self.size = 0
        self.layout = ""
        self._averaged: int | None = None  # until somebody says it
        self._lock = threading.RLock()
        self._newcomers = WaitingRoom()
        self._absences = Absences(config.return_deadline_s, self._lost)
        self._giver: Member | None = None
        self._gives_until = 0.0
        self._given_by = -1

    @property
    def name(self) -> str:
        """32 hexadecimal digits."""
        return self.members.cohort

    @property
    def info(self) -> CohortInfo:
        """What phones are told of it."""
        config = self.config
        return CohortInfo(
            self.name,
            config.mode,
            config.phones,
            config.batch if config.mode == "merged" else 0,
            config.secure,
            config.bits,
        )

    def answer(self, message: Message, session: "Session") -> Reply | None:
        """The reply to a message; None if it is the session's affair.

        Raises:
            ProtocolError: If it is refused.
        """
        if isinstance(message, Enroll):
            return self._enroll(message, session)
        if isinstance(message, Restore) and not self.config.allow_restore:
            raise ProtocolError(
                "Expected the phones of a cohort to go on together. Received: "
                "a Restore by one of them, which would turn the body back "
                "under all. Serve with --allow-restore if that is to be.",
                "cohort",
            )
        if isinstance(message, Leave):
            self.left(session.name, back=False)
            return Done()
        if not isinstance(message, _TRAINS):
            return None
        member = self.members.of(session.name)
        if member is not None and not self._is_of_it(member):
            member = None
        if member is None and isinstance(message, PutHalf):
            raise _unasked()
        if member is None:
            raise ProtocolError(
                "Expected a phone that has enrolled: those of this server "
                f"train one model ({self.config.mode}). Received: "
                f"{type(message).__name__} of another. Train with "
                "callbacks=[keras_split.FederatedAveraging()], or --federate.",
                "cohort",
            )
        member.stopped = False
        self.came(session.name)
        if isinstance(message, PutHalf):
            if member is self._giver:
                return self._put_half(message, member)
            if (member.number, message.version) == (self._given_by, 0):
                return Done()  # its connection was lost before it was told
        reply = self.mode.answer(message, member, session)
        if reply is not None and isinstance(message, PutHalf):
            self._write()
        elif isinstance(message, PutHalf):
            raise _unasked()
        return reply

    def came(self, session: str) -> None:
        """The client of a session is back, unless it trains no more."""
        member = self.members.of(session)
        if member is None or member.stopped or not self._is_of_it(member):
            return
        if not member.present:
            member.present = member.awaited = True
            self._came(member)

    def left(
        self, session: str, *, back: bool = True, ended: bool = False
    ) -> None:
        """The client of a session is gone, for now or for good.

        Args:
            session: Its name.
            back: Whether others wait for it to be back.
            ended: Whether the session has ended, too; then nobody does.
        """
        member = self.members.of(session)
        if member is None:
            return
        was_awaited = member.awaited
        was_present, member.present = member.present, False
        if ended or not back:
            self._absences.end(member)
            member.awaited = False
            member.stopped = True
        elif was_present:
            self._absences.begin(member)
        if ended:
            self.members.end(session)
        if was_present:
            self.mode.left(member)
        if was_awaited and not member.awaited:
            self._lost(member)
        if member.told:
            member.told = False
            self._events.away(label(session), member.number)

    def close(self) -> None:
        """The server stops, and who is away is so with it."""
        self._absences.close()

    def state(self) -> CohortState:
        """What outlives the server; called in a turn of the bodies."""
        with self._lock:
            terms = None if self.terms is None else asdict(self.terms)
            size, layout = self.size, self.layout
        return CohortState(
            self.config.mode,
            self.members.state(),
            terms,
            size,
            layout,
            self.half.version,
            self.half.vector,
            self.mode.state(),
            self._given_by,
        )

    def load(self, state: CohortState, sessions: Collection[str]) -> None:
        """Goes on from what outlived another server.

        Args:
            state: It.
            sessions: Those that are open.

        Raises:
            DataError: If its phones trained otherwise.
        """
        if state.mode != self.config.mode:
            raise DataError(
                f"Expected checkpoints of a {self.config.mode} cohort. "
                f"Received: those of a {state.mode} one. Serve it as it was, "
                f"--cohort {state.mode}, or choose another folder."
            )
        self.members.load(state.members)
        for member in self.members:
            if member.session not in sessions:
                self.members.end(member.session)
        if state.half is not None and state.terms is not None:
            self.terms = AveragingTerms(**state.terms)
            self.size, self.layout = state.size, state.layout
            alike = (m.enrolled for m in self.members if self._is_of_it(m))
            self._averaged = next(map(_averaged, alike), None)
            self.half.put(state.version, state.half)
            self._given_by = state.given_by
        self.mode.load(state.progress)
        for member in self.members.awaited:
            self._absences.begin(member)

    def _lost(self, member: Member) -> None:
        """Nobody waits any more for a phone that is gone, nor for its half."""
        if member.awaited:
            return  # it is back after all
        with self._lock:
            gives = member is self._giver
            if gives:
                self._giver = None
                self.terms = None  # the next one says them
        if gives:  # who waits enrolls again at once, and one of these gives
            self._newcomers.tell_all(lambda number: Later())
        self.mode.lost(member)

    def _came(self, member: Member) -> None:
        self._absences.end(member)
        if not member.told:  # once, however often it enrolls
            member.told = True
            self._events.enrolled(label(member.session), member.number)
        self.mode.came(member)

    def _enroll(self, message: Enroll, session: "Session") -> Reply:
        enrolling.check(message, self.config)
        with self._lock:
            self._check_alike(message)
            known = len(self.members)
            member = self.members.enroll(
                session.client or session.name, message
            )
            self._absences.end(member)
            is_new = len(self.members) > known
            gives = self.half.version < 0
            if gives and not self._is_to_give(member):
                return self._newcomers.wait(member.number)
        if gives:
            return Enrolled(member.number, 0, give_half=True)
        if is_new:
            self._write()
        self._came(member)
        return self._enrolled(member.number)

    def _is_to_give(self, member: Member) -> bool:
        """Whether the first half is to be a phone's; the lock must be held.

        Who is asked for it has the time of a round: one that calls without a
        stream may be gone, and nobody would know.
        """
        now = time.monotonic()
        if self._giver is member:
            return True
        if self._giver is not None and now < self._gives_until:
            return False
        self._giver = member
        self._gives_until = now + self.config.round_deadline_s
        return True

    def _enrolled(self, number: int) -> Enrolled:
        has = self.members[number].enrolled.version
        version, tensors = self.half.since(has)
        return Enrolled(number, version, tensors=tensors)

    def _put_half(self, message: PutHalf, giver: Member) -> Message:
        vector = vectors.from_tensors(message.tensors, self.size)
        with self._lock:
            self.half.put(0, vector)
            self._giver, self._given_by = None, giver.number
        self._write()
        self._came(giver)
        # Who waits asks again, and is a member then.
        self._newcomers.tell_all(self._enrolled_late)
        return Done()

    def _enrolled_late(self, number: int) -> Message:
        if self.members[number].present:
            self._came(self.members[number])
        return self._enrolled(number)

    def _write(self) -> None:
        """A phone that is told its number finds it after a restart, too."""
        with self._bodies.turn():
            self._bodies.write_cohort()

    def _is_of_it(self, member: Member) -> bool:
        """Whether a member has said what the others have.

        One that was the first, and was lost before it gave its half, may have
        said something else; it is none of the others until it enrolls again.
        """
        said = member.enrolled
        with self._lock:
            return self.terms is None or (
                (said.terms, said.size, said.layout)
                == (self.terms, self.size, self.layout)
                and self._averaged in (None, _averaged(said))
            )

    def _check_alike(self, message: Enroll) -> None:
        """Refuses who averages otherwise, or another half."""
        if self.terms is None:
            server_optimizer.check(message)
            self.terms = message.terms
            self.size, self.layout = message.size, message.layout
            self._averaged = None
        if message.terms != self.terms:
            raise ProtocolError(
                f"Expected the terms of the cohort, {self.terms}. Received: "
                f"{message.terms}. Average as the other phones do.",
                "cohort",
            )
        alike = (message.size, message.layout) == (self.size, self.layout)
        if alike and self._averaged is None:
            self._averaged = _averaged(message)
        if not alike or self._averaged != _averaged(message):
            raise ProtocolError(
                f"Expected a half of {self.size:,} numbers, as that of the "
                f"other phones. Received: {message.size:,}, or others. Export "
                "or save all halves from one model, with the same weights "
                "frozen.",
                "cohort",
            )


def _averaged(message: Enroll) -> int:
    """How many numbers of its half are averaged, where that is a choice."""
    return message.averaged if message.terms.what == "gradients" else 0


def _unasked() -> ProtocolError:
    """The error of a half that nobody waits for, perhaps any more."""
    return ProtocolError(
        "Expected a half that was asked for. Received: one that was not, or "
        "by a server that was killed since. Go on; who comes in begins with "
        "the half of the cohort.",
        "late",
    )
