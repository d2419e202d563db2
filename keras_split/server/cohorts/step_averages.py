"""The average of the gradients of all phones, step by step."""

import threading
from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import replace

from keras_split.errors import ProtocolError
from keras_split.protocol import vectors
from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.cohort_messages import Gathered
from keras_split.protocol.moment import Moment
from keras_split.server.cohorts import aggregations
from keras_split.server.cohorts.aggregation import Aggregation
from keras_split.server.cohorts.aggregation import Average
from keras_split.server.cohorts.aggregation import Task
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.drawn import Drawn
from keras_split.server.cohorts.members import Member
from keras_split.server.cohorts.members import Members
from keras_split.server.cohorts.mode import Reply
from keras_split.utils import workers


@dataclass(frozen=True)
class _Of:
    """What is averaged in a step.

    Attributes:
        step: Its number.
        members: Who contributes, or listens.
        size: Numbers that are averaged.
    """

    step: int
    members: tuple[int, ...]
    size: int


def _nothing(version: int) -> None:
    """Is told of averages that nobody else needs to hear of."""


class StepAverages:
    """The average of the gradients of all phones, step by step.

    With the average of step n the half of a phone has version n + 1. A server
    that was killed opens its last averages again, for phones may have been
    about to contribute. Some may also have had the result, and cannot give
    again, so such a one is of all its members but those that say they have
    it not, or there is none: two averages of one step would be two halves of
    one version.

    Args:
        config: Which mean it is, and how long a step waits.
        members: Of the cohort.
        averaged: Is told which version phones have from now on.
    """

    def __init__(
        self,
        config: CohortConfig,
        members: Members,
        averaged: Callable[[int], None] = _nothing,
    ) -> None:
        # A step does not wait as long as a round may.
        self._config = replace(config, round_deadline_s=config.step_deadline_s)
        self._members = members
        self._averaged = averaged
        self._lock = threading.Lock()
        self._open: dict[int, Aggregation] = {}  # of this step, and the last
        self._again: dict[int, _Of] = {}
        self._without: dict[int, set[int]] = {}  # who has no such average
        self._taken = (-1, Moment())  # the last step of the body

    def begin(
        self, drawn: Drawn, versions: Iterable[int] = (), *, again: bool = False
    ) -> None:
        """Opens the average of a step, if gradients are averaged.

        Args:
            drawn: The step.
            versions: Of the halves of those that have asked for another.
            again: Whether it was open on a server that was killed.
        """
        numbers = {number for number, _ in drawn.counts}
        # Of who is in it, all say the same; of those who left before anybody
        # had a half, some may have said something else.
        here = (m.enrolled for m in self._members if m.number in numbers)
        said = next(here, None)
        # Who has the average of a lost step cannot give to it once more.
        known = again and any(version > drawn.step for version in versions)
        if said is None or said.terms.what != "gradients" or known:
            return
        members = [member for member, _ in drawn.counts]
        size = said.averaged or said.size
        self.open(drawn.step, members, size, again=again)

    def open(
        self,
        step: int,
        members: Iterable[int],
        size: int,
        *,
        again: bool = False,
    ) -> None:
        """A step begins.

        Args:
            step: Its number.
            members: Who contributes, or listens.
            size: Numbers that are averaged.
            again: Whether it was open on a server that was killed.
        """
        of = _Of(step, tuple(members), size)

        def finish(average: Average) -> Gathered:
            missing = {*of.members} - {*average.members}
            if again and not missing <= self._without.get(step, set()):
                raise _over(step)
            self._averaged(step + 1)
            taken, moment = self._taken
            return Gathered(
                step,
                "value",
                average.members,
                step + 1,
                average.weight,
                vectors.to_tensors(average.vector),
                moment=moment if taken == step else Moment(),
            )

        task = Task(
            self._members.cohort,
            step,
            size,
            frozenset(of.members),
            finish,
            lambda: None,
        )
        made = aggregations.of(self._config)(self._config, task)
        with self._lock:
            while len(self._open) > 1:
                first = min(self._open)
                del self._open[first]
                self._again.pop(first, None)
                self._without.pop(first, None)
            self._open[step] = made
            if again:
                self._again[step] = of

    def taken(self, step: int, moment: Moment) -> None:
        """The body has taken a step, and is at this moment."""
        self._taken = step, moment

    def give(self, message: Contribution, member: int) -> Reply:
        """What a phone contributes; resolves with the average.

        Raises:
            ProtocolError: With reason `"late"`, if the step is over, or went
                on without the phone.
        """
        with self._lock:
            found = self._open.get(message.round)
        if found is None:
            raise _over(message.round)
        return found.give(member, message)

    def has_it(self, version: int) -> None:
        """A phone has a half of this version, so that average is made.

        It is not made again; who lost it with the server gets that half.
        """
        with self._lock:
            of = self._again.pop(version - 1, None)
            found = None if of is None else self._open.pop(of.step)
        if of is not None and found is not None:
            for member in of.members:
                found.lose(member)

    def lost(self, member: Member) -> None:
        """Nobody waits for a member any more, in any step."""

        def lose() -> None:
            with self._lock:
                steps = [*self._open]
            for step in steps:
                self.lose(step, [member.number])

        workers.start(lose)

    def give_up(self, step: int, member: int) -> None:
        """A member goes on without the average of a step, which it has not."""
        with self._lock:
            if step not in self._open:
                return  # nothing is averaged in it, or no more
            self._without.setdefault(step, set()).add(member)
        self.lose(step, [member])

    def lose(self, step: int, members: Iterable[int]) -> None:
        """Nobody waits for some members in a step any more."""
        with self._lock:
            found = self._open.get(step)
        if found is not None:
            for member in members:
                found.lose(member)


def _over(step: int) -> ProtocolError:
    return ProtocolError(
        "Expected gradients of the step that the phone is in. Received: those "
        f"of step {step}, whose average is over. Ask for the next.",
        "late",
    )
