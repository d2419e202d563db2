"""Who is in a cohort."""

import secrets
import threading
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

from keras_split.errors import ProtocolError
from keras_split.protocol.cohort import AveragingTerms
from keras_split.protocol.cohort_messages import Enroll

MOST = 4096  # or twice as many as are expected, if that is more


@dataclass
class Member:
    """One phone of a cohort.

    Attributes:
        number: Its number there; the same whenever it comes back.
        owner: Whose it is: the client's name, or its session's if nobody has
            one.
        session: Its session now; empty while it has none.
        enrolled: What it said last.
        present: Whether its client is connected.
        awaited: Whether others wait for it: it is here, or may be back soon.
        stopped: Whether it has said that it trains no more, for now.
        told: Whether listeners know that it is.
        anew: Whether it is about to begin, or to begin once more: nobody has
            looked since it enrolled.
    """

    number: int
    owner: str
    session: str
    enrolled: Enroll
    present: bool = True
    awaited: bool = True
    stopped: bool = False
    told: bool = False
    anew: bool = False

    def state(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "number": self.number,
            "owner": self.owner,
            "session": self.session,
            "said": asdict(self.enrolled),
        }


class Members:
    """The members of a cohort, by number and by session.

    There is an end to them: where nobody has a name, whoever opens a session
    is another one. When there are `most`, one whose session has ended makes
    room, and of these the one that enrolled first.

    Args:
        most: How many there may be.

    Attributes:
        cohort: Its name: 32 hexadecimal digits, which stay when the server is
            restarted.
    """

    def __init__(self, most: int = MOST) -> None:
        self.cohort = secrets.token_hex(16)
        self._most = most
        self._lock = threading.Lock()
        self._next = 0
        self._members: dict[int, Member] = {}
        self._by_session: dict[str, Member] = {}

    def __iter__(self) -> Iterator[Member]:
        with self._lock:
            return iter([*self._members.values()])

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, number: int) -> Member:
        return self._members[number]

    @property
    def present(self) -> list[Member]:
        """Those whose client is connected, by number."""
        return [member for member in self if member.present]

    @property
    def awaited(self) -> list[Member]:
        """Those, and who may be back soon, by number."""
        return [member for member in self if member.awaited]

    def of(self, session: str) -> Member | None:
        """Who has this session; None if nobody enrolled with it."""
        return self._by_session.get(session)

    def enroll(self, owner: str, message: Enroll) -> Member:
        """A member, new or one that comes back.

        Phones of one name, which share a token, are members of their own:
        one that is there keeps its place.

        Raises:
            ProtocolError: With reason `"busy"`, if there are too many.
        """
        session = message.session
        with self._lock:
            member = self._by_session.get(session) or self._away(owner)
            if member is None:
                self._make_room()
                member = Member(self._next, owner, session, message)
                self._next += 1
            self._by_session.pop(member.session, None)
            member.owner, member.session = owner, session
            member.enrolled = message
            member.present = member.awaited = True
            member.stopped, member.anew = False, True
            self._put(member)
            return member

    def end(self, session: str) -> None:
        """A session has ended; its member may come back with another one."""
        with self._lock:
            member = self._by_session.pop(session, None)
            if member is not None:
                member.session = ""
                member.present = member.awaited = False

    def state(self) -> dict[str, Any]:
        """What outlives the server: plain values that JSON can hold."""
        return {
            "cohort": self.cohort,
            "next": self._next,
            "members": [member.state() for member in self],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes over what outlived a server; nobody is present yet."""
        found: Sequence[Mapping[str, Any]] = state["members"]
        with self._lock:
            self.cohort = state["cohort"]
            self._next = state["next"]
            for values in found:
                said = dict(values["said"])
                terms = AveragingTerms(**said.pop("terms"))
                member = Member(
                    values["number"],
                    values["owner"],
                    values["session"],
                    Enroll(terms=terms, **said),
                    present=False,
                    awaited=bool(values["session"]),
                )
                self._put(member)

    def _away(self, owner: str) -> Member | None:
        """One of an owner's who is not there; first one with no session."""
        found = [
            member
            for member in self._members.values()
            if member.owner == owner and not member.present
        ]
        return min(
            found,
            key=lambda each: (each.session != "", each.number),
            default=None,
        )

    def _put(self, member: Member) -> None:
        self._members[member.number] = member
        if member.session:
            self._by_session[member.session] = member

    def _make_room(self) -> None:
        if len(self._members) < self._most:
            return
        for member in self._members.values():
            if not member.session:
                del self._members[member.number]
                return
        raise ProtocolError(
            f"Expected fewer than {self._most:,} phones in a cohort. Received: "
            "one more, while all of these have sessions. Try again later.",
            "busy",
        )
