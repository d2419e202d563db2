"""The bodies of replicas become one, every so many steps: local SGD.

Stich, Local SGD Converges Fast and Communicates Little, ICLR 2019.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
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
_AGAIN_S = 10.0  # until who goes on from a checkpoint is asked once more


@dataclass(eq=False)
class _Member:
    """A replica, and which averages its body has.

    Attributes:
        actor: Ray's handle.
        bases: What its body may have gone on from, newest first; empty as
            long as nobody knows.
        process: Number of its process.
        steps: That this has taken.
        averaged: How many of them are in an average.
        asked: How many it had taken when it was last asked for its body.
    """

    actor: Any
    bases: list[Kept]
    process: int = 0
    steps: int = 0
    averaged: int = 0
    asked: int = 0

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

    def weight(self, state: BodyState) -> int:
        """How much its body counts: its steps, since the last average."""
        if not self.bases:
            return max(state.moment.steps, 1)
        return max(state.steps - self.averaged, 1)


class Averaging:
    """Makes the bodies of replicas one, every so many steps.

    An average is of those that answer and have trained since the last one,
    by their steps, and all that answer take it. None waits for another. A
    replica that is away takes the last average before it serves again.

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
        self._members = [_Member(actor, [self._origin]) for actor in actors]
        self._average: Average | None = None
        self._not_before = 0.0
        self.count = 0
        self.last: BodyState | None = None

    @property
    def moments(self) -> tuple[Moment, ...]:
        """Of the bodies that the last average is of, and its own."""
        made = self._average
        return () if made is None else (*made.moments, made.mean.moment)

    def saw(self, number: int, look: Look) -> None:
        """How a replica is.

        Args:
            number: Which one.
            look: At it.
        """
        member = self._members[number]
        if look.process != member.process:
            if not member.process and look.status.moment != self._origin.moment:
                member.bases = []  # it goes on from a checkpoint
            member.process, member.averaged, member.asked = look.process, 0, 0
        member.steps = look.status.steps

    def missed(self, number: int) -> tuple[Average, Sequence[Kept]] | None:
        """What a replica that comes back has to take; None for nothing.

        Args:
            number: Which one.
        """
        member, made = self._members[number], self._average
        return None if made is None else (made, self._bases(member, made))

    def _bases(self, member: _Member, made: Average) -> Sequence[Kept]:
        """What to take it with; it may have taken it when it dies again."""
        if made.mean not in member.bases:
            member.bases.insert(0, made.mean)
        return [kept for kept in member.bases if kept is not made.mean]

    def look_after(self, there: Sequence[int], *, now: bool = False) -> None:
        """Averages if enough steps were taken.

        Args:
            there: Replicas that answer.
            now: Whether any step is enough.
        """
        members = [self._members[number] for number in there]
        try:
            if self._due(members, now):
                self._make([member for member in members if member.gives])
        except self._ray.exceptions.RayError as error:
            _LOG.error("no average was made: %s", first_line(error))
        if self._average is not None:
            self._hand_out(members, self._average)

    def _due(self, members: Sequence[_Member], now: bool) -> bool:
        if any(not member.bases for member in members):
            return now or time.monotonic() >= self._not_before
        if now:
            return any(member.since > 0 for member in members)
        steps = [member.new for member in members if member.new > 0]
        return bool(steps) and sum(steps) >= self._every * len(steps)

    def _make(self, members: Sequence[_Member]) -> None:
        """Makes an average, of the bodies that come in time."""
        self._not_before = time.monotonic() + _AGAIN_S
        asked = [member.actor.give.remote() for member in members]
        given: list[tuple[_Member, Any, BodyState]] = []
        data = DataDigest()
        for member, reference, state in zip(
            members, asked, self._answers(asked), strict=True
        ):
            member.asked = member.steps
            if state is None or not self._is_finite(state):
                continue
            try:
                data.check(state.data)
            except ProtocolError as error:
                _LOG.error("a replica is left out of an average: %s", error)
                continue
            data = data.or_else(state.data)
            given.append((member, reference, state))
        if given:
            self._average_of(given, data)

    def _average_of(
        self, given: Sequence[tuple[_Member, Any, BodyState]], data: DataDigest
    ) -> None:
        self.count += 1
        made = mean_of_variables(
            [*given[0][2].values],
            [[*state.values] for _, _, state in given],
            [float(member.weight(state)) for member, _, state in given],
            Mean(),
        )
        values = [np.array(array) for array in made]  # not Ray's memory
        self.last = BodyState(Moment(self._run, self.count), values, data)
        self._average = Average(
            Kept(self.last.moment, [self._ray.put(self.last)]),
            tuple(state.moment for _, _, state in given),
        )
        for member, reference, state in given:
            member.averaged = state.steps
            member.bases.insert(0, Kept(state.moment, [reference]))
        _LOG.info("averaged the bodies of %d replicas.", len(given))

    def _hand_out(self, members: Sequence[_Member], made: Average) -> None:
        """Gives an average to those that have not got it."""
        asked = [m for m in members if made.mean not in m.bases]
        took = self._answers(
            [m.actor.take.remote(made, self._bases(m, made)) for m in asked]
        )
        for member, answer in zip(asked, took, strict=True):
            if answer is not None:  # else it may have any of its bases
                del member.bases[1:]

    def _answers(self, asked: Sequence[Any]) -> list[Any]:
        """What replicas said; None for each that did not in time."""
        if not asked:
            return []
        errors = self._ray.exceptions
        done, _ = self._ray.wait(
            [*asked], num_returns=len(asked), timeout=_WAIT_S
        )
        found: list[Any] = [None] * len(asked)
        for i, reference in enumerate(asked):
            if reference not in done:
                _LOG.error("a replica takes too long to average its body.")
                continue
            try:
                found[i] = self._ray.get(reference)
            except errors.RayTaskError as error:
                _LOG.error(
                    "a replica is left out of an average: %s", raised(error)
                )
            except errors.RayError:
                pass  # it died; whoever asks how it is will say so
        return found

    def _is_finite(self, state: BodyState) -> bool:
        finite = all(
            floats_are_finite(values)
            for i, values in enumerate(state.values)
            if i not in self._odd
        )
        if not finite:
            _LOG.error(
                "a replica is left out of an average, for its body has NaN or "
                "infinity. Train with a lower learning rate."
            )
        return finite
