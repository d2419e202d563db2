"""How the members of a cohort train together."""

import abc
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING
from typing import Any

from keras_split.protocol.messages import Message
from keras_split.server.cohorts.members import Member

if TYPE_CHECKING:
    from keras_split.server.session import Session

Reply = Message | Future[Message]


class Mode(abc.ABC):
    """How the members of a cohort train: one of `protocol.cohort.MODES`.

    Its methods are called from the threads of many phones at once.
    """

    @abc.abstractmethod
    def answer(
        self, message: Message, member: Member, session: "Session"
    ) -> Reply | None:
        """The reply to a message of a member; None if the session has it.

        It may be a `Future`, where others are awaited. Nobody has the turn of
        the body meanwhile: who computes with it takes it.

        Raises:
            ProtocolError: If it is refused.
        """

    @abc.abstractmethod
    def came(self, member: Member) -> None:
        """A member enrolled, or came back."""

    @abc.abstractmethod
    def left(self, member: Member) -> None:
        """A member's client is gone. Others wait for it, until it is lost."""

    @abc.abstractmethod
    def lost(self, member: Member) -> None:
        """Nobody waits for a member any more, unless it comes back.

        Whoever says goodbye has the turn of its body, so what needs that is
        left to another thread.
        """

    def state(self) -> dict[str, Any]:
        """What of it outlives the server, beside the half and the members.

        Plain values, lists, dicts by string, and arrays. It is called in the
        turn of the body (`Bodies.turn`): nobody who holds a lock that is
        needed here may wait for that turn.
        """
        return {}

    def load(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Goes on from what `state` gave to another server; nobody is here."""
