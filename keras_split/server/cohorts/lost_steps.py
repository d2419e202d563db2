"""Merged steps that a server has lost, and gets again from their phones."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from dataclasses import field

from keras_split.errors import ProtocolError
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Refusal
from keras_split.server.cohorts.drawn import Drawn
from keras_split.server.cohorts.merging import Given
from keras_split.server.cohorts.merging import Merging
from keras_split.server.session import Session


@dataclass(eq=False)
class Held:
    """The share of one phone, which waits until its step is the next.

    Attributes:
        member: The phone.
        drawn: The step.
        given: Its share.
        future: The reply.
    """

    member: int
    drawn: Drawn
    given: Given
    future: "Future[Message]" = field(default_factory=Future)

    def hand_to(self, merging: Merging) -> None:
        """Gives it to its step, which may compute."""
        try:
            merging.forward(self.member, self.given).add_done_callback(
                lambda made: self.future.set_result(made.result())
            )
        except ProtocolError as error:
            self.future.set_result(Refusal(error.reason, str(error)))


@contextlib.contextmanager
def counted(session: Session, step: int) -> Iterator[None]:
    """Lets a phone go on behind a lost step that was made without it.

    Args:
        session: The phone's.
        step: Its number there.
    """
    try:
        yield
    except ProtocolError as error:
        if error.reason == "late":
            session.missed(step)
        raise


class LostSteps:
    """Merged steps that a server has lost, and gets again from their phones.

    Each phone sends its own, one after the other, and shows how they were
    drawn (`Tickets`), so the same steps are made again.

    Attributes:
        may_come: Whether there may be any: not on a server that went on from
            no other, nor when all phones have asked for a new step.
    """

    def __init__(self) -> None:
        self.may_come = False
        self._held: dict[int, Held] = {}

    @property
    def members(self) -> set[int]:
        """Whose shares wait here."""
        return {*self._held}

    @property
    def first(self) -> int | None:
        """The first step of which there are any; None if there are none."""
        return min((h.drawn.step for h in self._held.values()), default=None)

    def hold(
        self, member: int, drawn: Drawn, given: Given
    ) -> "Future[Message]":
        """Takes the share of a phone; resolves when its step has gone forward.

        Args:
            member: The phone.
            drawn: The step.
            given: The share.
        """
        held = self._held.get(member)
        if held is not None:
            if held.drawn == drawn:
                return held.future
            held.future.set_result(Refusal("late", "Another came instead."))
        made = self._held[member] = Held(member, drawn, given)
        return made.future

    def take(self) -> tuple[Drawn, list[Held]]:
        """The first step, and the shares that are here of it.

        A server that was killed twice may have drawn one number twice. Then
        most phones are believed, and the others are late.
        """
        first = self.first
        found = [
            held
            for _, held in sorted(self._held.items())
            if held.drawn.step == first
        ]
        drawn = Counter(held.drawn for held in found).most_common(1)[0][0]
        for held in found:
            del self._held[held.member]
            if held.drawn != drawn:
                held.future.set_result(
                    Refusal("late", "Most phones have drawn another step.")
                )
        return drawn, [held for held in found if held.drawn == drawn]
