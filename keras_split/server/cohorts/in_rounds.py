"""What modes have in common whose phones train their own batches in rounds."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from keras_split.protocol.messages import Message
from keras_split.server.cohorts.along import Along
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.half import CohortHalf
from keras_split.server.cohorts.members import Member
from keras_split.server.cohorts.members import Members
from keras_split.server.cohorts.mode import Mode
from keras_split.server.cohorts.mode import Reply
from keras_split.server.cohorts.rounds import Rounds

if TYPE_CHECKING:
    from keras_split.server.bodies import Bodies
    from keras_split.server.callbacks import ServerCallback
    from keras_split.server.session import Session


class InRounds(Mode):
    """Phones whose steps are their own, and whose halves rounds average.

    Args:
        config: How they train.
        members: Who they are.
        half: What they average.
        bodies: What they train.
        events: Hears of rounds.
        along: What else belongs to a round.
    """

    def __init__(
        self,
        config: CohortConfig,
        members: Members,
        half: CohortHalf,
        bodies: "Bodies",
        events: "ServerCallback",
        along: Along | None = None,
    ) -> None:
        self.rounds = Rounds(config, members, half, bodies, events, along)

    def answer(
        self, message: Message, member: Member, session: "Session"
    ) -> Reply | None:
        """The reply to a message about rounds; steps are the session's."""
        return self.rounds.answer(message, member)

    def came(self, member: Member) -> None:
        """A member enrolled, or came back."""
        self.rounds.came(member)

    def left(self, member: Member) -> None:
        """A member's client is gone."""
        self.rounds.left(member)

    def lost(self, member: Member) -> None:
        """Nobody waits for a member any more."""
        self.rounds.lost(member)

    def state(self) -> dict[str, Any]:
        """What of the rounds outlives the server."""
        return self.rounds.state()

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.rounds.load(state)
