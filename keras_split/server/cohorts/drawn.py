"""Merged steps as the server drew them, for one that forgot."""

import hashlib
import hmac
import json
import secrets
import zlib
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keras_split.errors import ProtocolError
from keras_split.protocol.cohort import MergedStep
from keras_split.protocol.cohort_messages import Share

_MAC_BYTES = 32
# Of a ticket; what stands before the payload of a message has a limit, too.
_MOST_BYTES = 1 << 15


@dataclass(frozen=True)
class Drawn:
    """A merged step: who gives how much to it.

    Attributes:
        step: Its number in the cohort.
        epoch: Of the cohort.
        version: Of the half that it begins with.
        counts: Members and their examples, in the order of the batch; 0 for
            who only listens.
    """

    step: int
    epoch: int
    version: int
    counts: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Drawn":
        """From what `values` gave."""
        step, epoch, version, counts = values
        return cls(step, epoch, version, tuple((n, c) for n, c in counts))

    @property
    def values(self) -> list[Any]:
        """Plain values that JSON can hold."""
        return [self.step, self.epoch, self.version, self.counts]

    @property
    def members(self) -> tuple[int, ...]:
        """Who takes part, in the order of the batch."""
        return tuple(member for member, count in self.counts if count)

    def shares(self, ticket: bytes) -> dict[int, Share]:
        """What each member is told.

        Args:
            ticket: Of this; only those who take part ever show it.
        """
        members = self.members
        return {
            member: Share(
                *(self.step, count, members, self.version),
                ticket=ticket if count else b"",
            )
            for member, count in self.counts
        }

    def has(self, member: int, merged: MergedStep) -> bool:
        """Whether this is the share of a member."""
        return (
            merged.count == dict(self.counts).get(member)
            and merged.step == self.step
            and tuple(merged.members) == self.members
        )


class Tickets:
    """What phones show of a step to a server that has forgotten it.

    A server that was killed has lost what it drew last, though some phones
    were told of it. They show what they were told, with an HMAC (RFC 2104) of
    a key that outlives the server and that no phone knows. So the server
    believes itself: nobody can make up a step, nor what others give to it.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(_MAC_BYTES)

    def of(self, drawn: Drawn) -> bytes:
        """The ticket of a step; empty if it would be too long."""
        body = zlib.compress(json.dumps(drawn.values).encode(), 1)
        ticket = self._mac(body) + body
        return ticket if len(ticket) <= _MOST_BYTES else b""

    def read(self, merged: MergedStep, member: int) -> Drawn:
        """The step that a phone shows.

        Args:
            merged: What it says.
            member: The phone.

        Raises:
            ProtocolError: With reason `"late"`, if it shows nothing; with
                `"cohort"`, if that is none of this server's, or the phone
                was told something else.
        """
        if not merged.ticket:
            raise ProtocolError(
                "Expected the ticket that came with the share of this step, "
                "for the server was started again. Received: none. Send back "
                "Share.ticket as MergedStep.ticket; ask for the next.",
                "late",
            )
        mac, body = merged.ticket[:_MAC_BYTES], merged.ticket[_MAC_BYTES:]
        if hmac.compare_digest(mac, self._mac(body)):
            drawn = Drawn.of(json.loads(zlib.decompress(body)))
            if drawn.has(member, merged):
                return drawn
        raise ProtocolError(
            f"Expected a share of step {merged.step} as this server has drawn "
            f"it for the phone. Received: {merged.count} examples, among "
            f"members {list(merged.members)[:64]}, and a ticket that says "
            "otherwise. Send back what Share said.",
            "cohort",
        )

    def state(self) -> dict[str, Any]:
        """What outlives the server."""
        return {"key": self._key.hex()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on with the key that `state` gave."""
        self._key = bytes.fromhex(state["key"])

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)
