"""A body for each phone, averaged with the halves: SplitFed v1."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from keras_split.protocol.cohort_messages import Contribution
from keras_split.protocol.messages import Message
from keras_split.server.cohorts.body_average import BodyAverage
from keras_split.server.cohorts.config import CohortConfig
from keras_split.server.cohorts.half import CohortHalf
from keras_split.server.cohorts.in_rounds import InRounds
from keras_split.server.cohorts.members import Member
from keras_split.server.cohorts.members import Members
from keras_split.server.cohorts.mode import Reply

if TYPE_CHECKING:
    from keras_split.server.bodies import Bodies
    from keras_split.server.callbacks import ServerCallback
    from keras_split.server.session import Session


class Private(InRounds):
    """Each phone trains a body of its own; a round averages all of it.

    Thapa et al., SplitFed: When Federated Learning Meets Split Learning, AAAI
    2022, version 1. With one phone it is what that phone would train alone.

    Args:
        config: How they train.
        members: Who they are.
        half: What they average.
        bodies: One for each.
        events: Hears of rounds.
    """

    def __init__(
        self,
        config: CohortConfig,
        members: Members,
        half: CohortHalf,
        bodies: "Bodies",
        events: "ServerCallback",
    ) -> None:
        self._average = BodyAverage(config, bodies)
        super().__init__(config, members, half, bodies, events, self._average)

    def answer(
        self, message: Message, member: Member, session: "Session"
    ) -> Reply | None:
        """The reply to a message about rounds; steps are the session's."""
        gives = (
            isinstance(message, Contribution)
            and message.round == self.rounds.number
        )
        self._average.heard(member.number, session, gives=gives)
        return super().answer(message, member, session)

    def state(self) -> dict[str, Any]:
        """What of the rounds outlives the server."""
        return {**super().state(), "examples": self._average.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self._average.load(state["examples"])
        super().load(state)
