"""Who takes part in a secure sum, with which keys."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from keras_split.aggregation import fixed_point
from keras_split.aggregation.fixed_point import FixedPoint
from keras_split.errors import ProtocolError

FEWEST = 2  # one alone is its own sum
_KEYS_BYTES = 97


@dataclass(frozen=True)
class PhoneKeys:
    """What a phone tells all others before a sum: 97 bytes, in this order.

    Attributes:
        seal: Public X25519 key, for the envelopes of shares.
        mask: Another, for masks that two phones have in common.
        digest: SHA-256 of the secret of the phone's mask of its own.
        exponent: Its weight is at most `2**exponent`; one byte.
    """

    seal: bytes
    mask: bytes
    digest: bytes
    exponent: int

    def to_bytes(self) -> bytes:
        """As they travel."""
        return self.seal + self.mask + self.digest + bytes([self.exponent])

    @classmethod
    def from_bytes(cls, data: bytes, bits: int) -> "PhoneKeys":
        """Reads them.

        Raises:
            ProtocolError: With reason `"protocol"`, if they cannot be that.
        """
        if len(data) != _KEYS_BYTES or not fixed_point.is_exponent(
            data[-1], bits
        ):
            raise ProtocolError(
                f"Expected the keys of a phone: {_KEYS_BYTES} bytes, the last "
                "the exponent of its weight. Received: "
                f"{len(data)} bytes, {data[-1:].hex() or 'none'} the last.",
                "protocol",
            )
        return cls(data[:32], data[32:64], data[64:96], data[96])


@dataclass(frozen=True)
class Roster:
    """The members of one sum, as all of them must have seen them.

    Attributes:
        cohort: Its name.
        round: Number of the sum there.
        bits: Of the numbers, 32 or 64.
        keys: Of each member.
    """

    cohort: str
    round: int
    bits: int
    keys: Mapping[int, PhoneKeys]

    @classmethod
    def read(
        cls, cohort: str, round: int, bits: int, keys: Mapping[int, bytes]
    ) -> "Roster":
        """A roster as the server sends it.

        Raises:
            ProtocolError: With reason `"late"` if there are too few members
                for a sum, `"protocol"` if a key is none or stands there twice.
        """
        if len(keys) < FEWEST:
            raise ProtocolError(
                f"Expected {FEWEST} phones or more, whose sum tells of none. "
                f"Received: {len(keys)}. Ask for the next round.",
                "late",
            )
        if max(keys) >= 1 << 32 or min(keys) < 0:
            raise ProtocolError(
                "Expected numbers of members that fit 4 bytes. Received: "
                f"{max(keys)}.",
                "protocol",
            )
        read = {m: PhoneKeys.from_bytes(keys[m], bits) for m in sorted(keys)}
        public = [key for k in read.values() for key in (k.seal, k.mask)]
        if len(set(public)) < len(public):
            raise ProtocolError(
                "Expected different keys of all phones. Received: one twice. "
                "Ask for the next round.",
                "protocol",
            )
        return cls(cohort, round, bits, read)

    @property
    def threshold(self) -> int:
        """So many members can recover a mask, and must be there in the end.

        More than half: no two groups of members can end a sum, each its own.
        """
        return max(FEWEST, len(self.keys) // 2 + 1)

    @cached_property
    def places(self) -> dict[int, int]:
        """Place of each member, from 0, in the order of numbers."""
        return {member: place for place, member in enumerate(self.keys)}

    @cached_property
    def format(self) -> FixedPoint:
        """How numbers are written."""
        weights = [keys.exponent for keys in self.keys.values()]
        return FixedPoint.of(self.bits, weights)

    @cached_property
    def salt(self) -> bytes:
        """Digest of all of this, 32 bytes; keys of two rosters differ.

        SHA-256 of `keras_split secure sum 1`, the name of the cohort (both
        ASCII), the number of the round (8 bytes, big-endian), and of each
        member in the order of numbers: the number (4 bytes, big-endian) and
        its keys as they travel.
        """
        hashed = hashlib.sha256(b"keras_split secure sum 1")
        hashed.update(self.cohort.encode("ascii"))
        hashed.update(self.round.to_bytes(8, "big"))
        for member, keys in self.keys.items():
            hashed.update(member.to_bytes(4, "big") + keys.to_bytes())
        return hashed.digest()
