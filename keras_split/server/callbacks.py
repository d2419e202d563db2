"""What a server tells of itself: to logs, metrics and whoever listens."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Protocol

from keras_split.protocol.moment import Moment
from keras_split.transports.address import peer_host


@dataclass(frozen=True)
class Caller:
    """Who sent a message.

    Attributes:
        client: Who it is, as its token or its certificate says; empty if the
            server asks nobody.
        peer: Where it called from.
        key: Digest of the token that let it in; empty if nobody is asked.
            Nobody is told.
        operator: Whether it showed the token of who runs the server.
    """

    client: str = ""
    peer: str = ""
    key: str = field(default="", repr=False, compare=False)
    operator: bool = False

    @property
    def told(self) -> dict[str, str]:
        """What logs may tell of it."""
        return {"client": self.client, "peer": self.peer}

    @functools.cached_property  # every message asks for it
    def account(self) -> str:
        """Whose doings are counted together: a client's, else a host's."""
        return self.client or peer_host(self.peer)


@dataclass(frozen=True)
class StepCommitted:
    """One step that was committed.

    Attributes:
        session: Label of the session.
        step: Number of the step in its session.
        queue_s: How long its backward waited for its turn.
        compute_s: How long forward and backward took.
        moment: Of the body after it.
    """

    session: str
    step: int
    queue_s: float
    compute_s: float
    moment: Moment = Moment()

    @classmethod
    def last_of(cls, session: "Stepping", queue_s: float) -> "StepCommitted":
        """The last step of a session.

        Args:
            session: Took it.
            queue_s: How long its backward waited for its turn.
        """
        return cls(
            label(session.name),
            session.next_step - 1,
            queue_s,
            session.compute_s,
            session.moment,
        )


class Stepping(Protocol):
    """Who takes steps: a session.

    Attributes:
        name: Its name, which nobody else is told.
        next_step: The first step that it has not taken.
        compute_s: What its last step took.
        moment: Of the body after that.
    """

    name: str
    next_step: int
    compute_s: float
    moment: Moment


@dataclass(frozen=True)
class StepMerged:
    """One step over the examples of several phones, which was committed.

    Attributes:
        step: Its number in the cohort.
        members: Whose examples are in it, by their numbers in the cohort.
        dropped: Who was asked for some, and came too late or not at all.
        seconds: From the draw of the shares to the last reply.
        examples: How many are in it, of all members together.
    """

    step: int
    members: Sequence[int]
    dropped: Sequence[int] = ()
    seconds: float = 0.0
    examples: int = 0


@dataclass(frozen=True)
class RoundEnded:
    """One round of a cohort, whose halves became one.

    Attributes:
        round: Its number in the cohort.
        members: Whose halves are in the average.
        dropped: Who began the round, and is not in the average.
        seconds: From its begin to the average.
        version: Of the half that came of it.
    """

    round: int
    members: Sequence[int]
    dropped: Sequence[int] = ()
    seconds: float = 0.0
    version: int = 0


@functools.lru_cache(maxsize=1024)  # every message asks for it
def label(session: str) -> str:
    """What a session is called where others can read it: no secret."""
    return hashlib.sha256(session.encode()).hexdigest()[:8]


class ServerCallback:
    """A listener; override what is of interest. None of it may raise.

    A session is named by its label: its name is a secret between client and
    server, with which the session could be taken over.
    """

    def opened(self, session: str, caller: Caller) -> None:
        """A client opened a session."""

    def resumed(self, session: str, caller: Caller, step: int) -> None:
        """A client came back to its session, whose next step is `step`."""

    def left(self, session: str) -> None:
        """A connection ended; the session waits for its client."""

    def closed(self, session: str, reason: str) -> None:
        """A session ended: `"goodbye"`, `"idle"`, `"room"` or `"stopped"`."""

    def committed(self, taken: StepCommitted) -> None:
        """A step changed the body."""

    def restored(self, session: str, tag: str) -> None:
        """A client had the body set back to a snapshot."""

    def refused(self, session: str, caller: Caller, reason: str) -> None:
        """A message was refused; `session` is empty if it has none."""

    def carried(self, session: str, uplink: int, downlink: int) -> None:
        """So many bytes came from and went to the client of a session."""

    def checkpointed(self, path: str, seconds: float) -> None:
        """The server's state was written."""

    def stopping(self) -> None:
        """The server is about to stop: no session and no step begins."""

    def loaded(self, path: str, sessions: dict[str, int]) -> None:
        """A state was read back: the next step of each session in it."""

    def enrolled(self, session: str, member: int) -> None:
        """A phone joined the cohort, or came back to it."""

    def away(self, session: str, member: int) -> None:
        """A phone of the cohort is gone, for now or for good."""

    def merged(self, taken: StepMerged) -> None:
        """A step over the examples of several phones changed the body."""

    def round_begun(self, round: int, members: Sequence[int]) -> None:
        """Phones of the cohort begin to train in a round."""

    def round_ended(self, ended: RoundEnded) -> None:
        """Halves of the phones of a round became one."""


class CallbackList(ServerCallback):
    """Tells several listeners."""

    def __init__(self, listeners: Sequence[ServerCallback]) -> None:
        for name in vars(ServerCallback):
            if not name.startswith("_"):
                setattr(self, name, _each(listeners, name))


def _each(listeners: Sequence[ServerCallback], name: str):  # type: ignore[no-untyped-def]
    calls = [getattr(listener, name) for listener in listeners]

    def tell(*values: object) -> None:
        for call in calls:
            call(*values)

    return tell
