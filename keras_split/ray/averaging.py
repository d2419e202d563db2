"""The bodies of replicas become one, every so many steps: local SGD.

Stich, Local SGD Converges Fast and Communicates Little, ICLR 2019.
"""

import logging
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import numpy as np

from keras_split.aggregation.means import Mean
from keras_split.aggregation.variables import mean_of_variables
from keras_split.compression.formats import floats_are_finite
from keras_split.errors import ProtocolError
from keras_split.protocol.data_digest import DataDigest
from keras_split.protocol.moment import Moment
from keras_split.protocol.timeline import new_run
from keras_split.ray.averaged_body import Average
from keras_split.ray.averaged_body import BodyState
from keras_split.ray.averaged_body import Kept
from keras_split.ray.raised import first_line
from keras_split.ray.raised import raised
from keras_split.ray.replica import Look

_LOG = logging.getLogger("keras_split.server")
_WAIT_S = 30.0  # for bodies; who takes longer is left out of this average
_LOOK_S = 0.5  # then nobody waits for a replica that is no longer there
_AGAIN_S = 10.0  # until who goes on from a checkpoint is asked once more
_BASES = 4  # who has taken so many averages and given nothing has nothing


@dataclass(eq=False)
class _Member:
    """A replica, and which averages its body has.

    Attributes:
        number: Which one.
        actor: Ray's handle.
        bases: What its body may have gone on from, or goes on from if its
            process dies, newest first; empty as long as nobody knows.
        look: How it was when it was last seen.
        began: Steps in its body when this process began.
        steps: Steps in its body.
        averaged: How many of them are in an average.
        asked: How many there were when it was last asked for its body.
        owing: Answers to `take` that are still to come.
    """

    number: int
    actor: Any
    bases: list[Kept]
    look: Look | None = None
    began: int = 0
    steps: int = 0
    averaged: int = 0
    asked: int = 0
    owing: list[Any] = field(default_factory=list)

    @property
    def new(self) -> int:
        """Steps for which it has not been asked; it may have been in vain."""
        return self.steps - max(self.averaged, self.asked)

    @property
    def since(self) -> int:
        """Steps that are in no average."""
        return self.steps - self.averaged

    @property
    def gives(self) -> bool:
        """Whether its body has anything that others lack."""
        return self.since > 0 or not self.bases

    def saw(self, look: Look, origin: Moment) -> None:
        """How it is now.

        Args:
            look: At it.
            origin: Of the body that it began with, without checkpoints.
        """
        self.steps = look.learned
        if not _same(self.look, look):
            self.began, self.asked = self.steps, 0
            if self.look is None and look.status.moment != origin:
                self.bases = []  # it goes on from a checkpoint
            elif self.look is None:
                self.averaged = self.steps
        self.look = look
        # It may have been set back, or have begun anew.
        self.averaged = min(self.averaged, self.steps)
        self.asked = min(self.asked, self.steps)


@dataclass(eq=False)
class _Gift:
    """The body of a member, for an average.

    Attributes:
        member: Whose.
        reference: To it.
        look: How the member was when it was asked.
        averaged: How many of its steps were in an average then.
        known: Whether it was known what its body has gone on from.
    """

    member: _Member
    reference: Any
    look: Look | None
    averaged: int
    known: bool

    @classmethod
    def asked(cls, member: _Member) -> "_Gift":
        """Asks for it."""
        member.asked = member.steps
        return cls(
            member,
            member.actor.give.remote(),
            member.look,
            member.averaged,
            bool(member.bases),
        )

    def weight(self, state: BodyState) -> int:
        """How much the body counts: its steps, since the last average."""
        if not self.known:
            return max(state.steps, 1)
        return max(state.steps - self.averaged, 1)

    def is_taken(self, state: BodyState) -> None:
        """Notes that it is in an average; its process may be another now."""
        member, given = self.member, Kept(state.moment, [self.reference])
        same = _same(self.look, member.look)
        if same or member.began >= state.steps:  # which has it, too
            member.averaged = state.steps
        # Whatever happens to who gave, it goes on from there, or from nothing.
        member.bases = [given, *([] if same else member.bases)]


class Averaging:
    """Makes the bodies of replicas one, every so many steps.

    An average is of those that answer and have trained since the last one,
    by their steps, and all that answer take it. None waits for another. A
    replica that is away takes the last average before it serves again. One
    thread may tell what it sees while another looks after averages.

    Args:
        ray: The module, initialized.
        every: Steps of each from one average to the next; where they differ,
            in the mean of those that train.
        origin: The body that each began with, unless it has checkpoints.
        actors: The replicas.

    Attributes:
        count: Averages so far.
        last: What the last one came to; None before the first.
    """

    def __init__(
        self, ray: Any, every: int, origin: BodyState, actors: Sequence[Any]
    ) -> None:
        self._ray, self._every = ray, every
        self._run = new_run()
        self._origin = Kept(origin.moment, [ray.put(origin)])
        self._odd = {
            i
            for i, values in enumerate(origin.values)
            if not floats_are_finite(values)
        }
        self._members = [
            _Member(number, actor, [self._origin])
            for number, actor in enumerate(actors)
        ]
        self._changing = threading.Lock()
        self._average: Average | None = None
        self._not_before = 0.0
        self.count = 0
        self.last: BodyState | None = None

    @property
    def moments(self) -> tuple[Moment, ...]:
        """What the last average came through, and its own."""
        made = self._average
        return () if made is None else (*made.moments, made.mean.moment)

    def saw(self, number: int, look: Look) -> None:
        """How a replica is.

        Args:
            number: Which one.
            look: At it.
        """
        with self._changing:
            self._members[number].saw(look, self._origin.moment)

    def missed(self, number: int) -> tuple[Average, Sequence[Kept]] | None:
        """What a replica that comes back has to take; None for nothing.

        Args:
            number: Which one.
        """
        with self._changing:
            member, made = self._members[number], self._average
            return None if made is None else (made, self._bases(member, made))

    def _bases(self, member: _Member, made: Average) -> Sequence[Kept]:
        """What to take it with; it may have taken it when it dies again."""
        if made.mean not in member.bases:
            member.bases.insert(0, made.mean)
        return [kept for kept in member.bases if kept is not made.mean]

    def look_after(
        self, there: Callable[[], Sequence[int]], *, now: bool = False
    ) -> None:
        """Averages if enough steps were taken.

        Args:
            there: Tells which replicas answer.
            now: Whether any step is enough.
        """
        try:
            if gifts := self._asked(there(), now):
                self._make(gifts, there)
        except self._ray.exceptions.RayError as error:
            _LOG.error("no average was made: %s", first_line(error))
        if self._average is not None:
            self._hand_out(self._average, there)

    def _asked(self, there: Sequence[int], now: bool) -> list[_Gift]:
        """Bodies that are on their way, if it is time for an average."""
        with self._changing:
            members = [
                member
                for member in (self._members[number] for number in there)
                if not self._owes(member)
            ]
            if not self._due(members, now):
                return []
            self._not_before = time.monotonic() + _AGAIN_S
            return [_Gift.asked(member) for member in members if member.gives]

    def _owes(self, member: _Member) -> bool:
        """Whether it may take an average at any time, or never.

        It gives nothing before: nobody would know whether that is in it.
        """
        if member.owing:
            _, member.owing = self._ray.wait(
                member.owing, num_returns=len(member.owing), timeout=0
            )
        return bool(member.owing)

    def _due(self, members: Sequence[_Member], now: bool) -> bool:
        if any(not member.bases for member in members):
            return now or time.monotonic() >= self._not_before
        if now:
            return any(member.since > 0 for member in members)
        steps = [member.new for member in members if member.new > 0]
        return bool(steps) and sum(steps) >= self._every * len(steps)

    def _make(
        self, gifts: Sequence[_Gift], there: Callable[[], Sequence[int]]
    ) -> None:
        """Makes an average, of the bodies that come in time."""
        given: list[tuple[_Gift, BodyState]] = []
        data = DataDigest()
        found = self._answers(
            [(gift.member, gift.reference) for gift in gifts], there
        )
        for gift, state in zip(gifts, found, strict=True):
            number = gift.member.number
            if state is None or not self._is_finite(state, number):
                continue
            try:
                data.check(state.data)
            except ProtocolError as error:
                _LOG.error(
                    "replica %d is left out of an average: %s", number, error
                )
                continue
            data = data.or_else(state.data)
            given.append((gift, state))
        if given:
            self._average_of(given, data)

    def _average_of(
        self, given: Sequence[tuple[_Gift, BodyState]], data: DataDigest
    ) -> None:
        made = mean_of_variables(
            [*given[0][1].values],
            [[*state.values] for _, state in given],
            [float(gift.weight(state)) for gift, state in given],
            Mean(),
        )
        values = [np.array(array) for array in made]  # not Ray's memory
        last = BodyState(Moment(self._run, self.count + 1), values, data)
        mean = Kept(last.moment, [self._ray.put(last)])
        came_through = tuple(
            moment
            for _, state in given
            for moment in (*state.past, state.moment)
        )
        with self._changing:
            self.count, self.last = self.count + 1, last
            self._average = Average(mean, came_through)
            for gift, state in given:
                gift.is_taken(state)
        _LOG.info("averaged the bodies of %d replicas.", len(given))

    def _hand_out(
        self, made: Average, there: Callable[[], Sequence[int]]
    ) -> None:
        """Gives an average to those that have not got it."""
        present = there()
        with self._changing:
            asked = [
                (m, m.actor.take.remote(made, self._bases(m, made)))
                for m in (self._members[number] for number in present)
                if made.mean not in m.bases
            ]
        took = self._answers(asked, there)
        with self._changing:
            for (member, reference), answer in zip(asked, took, strict=True):
                if answer is None:  # it may have any of its bases
                    member.owing.append(reference)
                else:  # its last checkpoint may be of before it took this
                    del member.bases[_BASES:]

    def _answers(
        self,
        asked: Sequence[tuple[_Member, Any]],
        there: Callable[[], Sequence[int]],
    ) -> list[Any]:
        """What replicas said; None for each that did not in time."""
        errors = self._ray.exceptions
        end = time.monotonic() + _WAIT_S
        found: list[Any] = [None] * len(asked)
        owing = list(range(len(asked)))
        while owing:
            done, _ = self._ray.wait(
                [asked[i][1] for i in owing],
                num_returns=len(owing),
                timeout=_LOOK_S,
            )
            for i in owing:
                if asked[i][1] not in done:
                    continue
                try:
                    found[i] = self._ray.get(asked[i][1])
                except errors.RayTaskError as error:
                    _LOG.error(
                        "replica %d is left out of an average: %s",
                        asked[i][0].number,
                        raised(error),
                    )
                except errors.RayError:
                    pass  # it died; whoever asks how it is will say so
            present = there()
            owing = [
                i
                for i in owing
                if asked[i][1] not in done and asked[i][0].number in present
            ]
            if time.monotonic() > end:
                break
        for i in owing:
            _LOG.error(
                "replica %d takes too long to average its body.",
                asked[i][0].number,
            )
        return found

    def _is_finite(self, state: BodyState, number: int) -> bool:
        finite = all(
            floats_are_finite(values)
            for i, values in enumerate(state.values)
            if i not in self._odd
        )
        if not finite:
            _LOG.error(
                "replica %d is left out of an average, for its body has NaN or "
                "infinity. Train with a lower learning rate.",
                number,
            )
        return finite


def _same(one: Look | None, other: Look | None) -> bool:
    """Whether both are of one process."""
    if one is None or other is None:
        return one is other
    return one.same_process(other)
