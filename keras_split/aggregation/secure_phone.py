"""A phone's part in a secure sum.

Bonawitz et al. 2017 (10.1145/3133956.3133982), for a server that keeps to the
protocol: pairwise masks that cancel out in the sum, a mask of each phone's own
over them, and shares of the secrets behind both, so that a sum can be ended
without phones that are gone. The server is told one or the other secret of a
phone, never both.
"""

import secrets
from collections.abc import Collection
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_split.aggregation import fixed_point
from keras_split.aggregation import masks
from keras_split.aggregation import secret_sharing
from keras_split.aggregation.roster import PhoneKeys
from keras_split.aggregation.roster import Roster
from keras_split.aggregation.secret_sharing import SHARE_BYTES
from keras_split.errors import ProtocolError

_Vector = np.ndarray[Any, Any]
# What a member sends to another: an envelope with a share of its mask key and
# one of its own mask's secret, and a digest of each for the server.
SEALED_BYTES = secret_sharing.sealed_bytes(2 * SHARE_BYTES)
SHARES_BYTES = SEALED_BYTES + 2 * secret_sharing.DIGEST_BYTES


def mask_private(secret: bytes) -> bytes:
    """The private key of a member's masks with others, of a shared secret."""
    return masks.derive(secret, b"", "keras_split mask key")


class SecurePhone:
    """One phone in one sum: its four stages, each once and in this order.

    The server passes on what the phones give. What it passes on must fit
    together, or the phone goes no further, and the server gets no sum.

    Args:
        cohort: Name of the cohort.
        round: Number of the sum there.
        member: Number of this phone.
        vector: What is to be added up, shape `(size,)`, float32.
        weight: Its examples; 0 to listen only.
        bits: Of the numbers under masks, 32 or 64.

    Raises:
        QuantizationError: If the vector or the weight does not fit.
    """

    def __init__(
        self,
        cohort: str,
        round: int,
        member: int,
        vector: _Vector,
        weight: float,
        bits: int = 64,
    ) -> None:
        fixed_point.check_range(vector, bits)
        self._cohort = cohort
        self._round = round
        self._member = member
        self._vector = vector
        self._weight = weight
        self._bits = bits
        self._seal = secrets.token_bytes(masks.KEY_BYTES)
        self._mask = secrets.token_bytes(secret_sharing.SECRET_BYTES)
        self._own = secrets.token_bytes(secret_sharing.SECRET_BYTES)
        self._keys = PhoneKeys(
            masks.public_key(self._seal),
            masks.public_key(mask_private(self._mask)),
            secret_sharing.digest(self._own),
            fixed_point.exponent(weight, bits),
        )
        self._roster: Roster | None = None
        self._sealers: frozenset[int] | None = None
        self._shares: dict[int, bytes] = {}
        self._told: frozenset[int] | None = None

    def keys(self) -> bytes:
        """Its public keys, for all others."""
        return self._keys.to_bytes()

    def shares(self, keys: Mapping[int, bytes]) -> dict[int, bytes]:
        """Shares of its secrets, sealed for each other member.

        Args:
            keys: Of all members, this one too.

        Raises:
            ProtocolError: With reason `"late"`, if they are too few or this
                phone is none of them; else if the keys cannot be.
            QuantizationError: If their weights leave no room.
        """
        if self._roster is not None:
            raise _changed("keys once", "keys of another sum")
        if keys.get(self._member) != self.keys():
            raise _changed("the keys that this phone gave", "others", "late")
        roster = Roster.read(self._cohort, self._round, self._bits, keys)
        roster.format  # noqa: B018  refuses before anything is shared
        self._roster = roster
        count = len(roster.keys)
        split = [
            secret_sharing.split(secret, roster.threshold, count)
            for secret in (self._mask, self._own)
        ]
        joined = map(bytes.__add__, *split)
        pairs = dict(zip(roster.keys, joined, strict=True))
        self._shares[self._member] = pairs.pop(self._member)
        return {
            other: secret_sharing.seal(
                self._seal_key(roster, other, self._member, other),
                pair,
            )
            + _digests(pair)
            for other, pair in pairs.items()
        }

    def value(
        self, members: Collection[int], shares: Mapping[int, bytes]
    ) -> _Vector:
        """Its vector under masks.

        Args:
            members: Who gave shares, this phone too.
            shares: What each of them sealed for this phone.

        Returns:
            Shape `(size + 1,)`, uint32 or uint64: evenly random for who has
            not the masks.

        Raises:
            ProtocolError: With reason `"late"`, if they are too few; else if
                they are none of the sum.
        """
        roster = self._roster
        if roster is None or self._sealers is not None:
            raise _changed("shares once, behind keys", "shares")
        self._check(members, set(roster.keys), roster)
        self._sealers = frozenset(members)
        masked = roster.format.encode(self._vector, self._weight)
        masks.add_stream(
            masked, masks.self_key(self._own, roster.salt, self._member)
        )
        private = mask_private(self._mask)
        for other in self._sealers - {self._member}:
            lower, higher = sorted((self._member, other))
            key = masks.pair_key(
                private, roster.keys[other].mask, roster.salt, lower, higher
            )
            masks.add_stream(masked, key, subtract=self._member == higher)
            self._open(roster, other, shares.get(other, b""))
        return masked

    def unmask(self, members: Collection[int]) -> dict[int, bytes]:
        """Shares that take the masks off the sum of some members.

        Of those whose values are in the sum it is a share of the secret of
        their own mask, of those who are gone since a share of their mask key.
        Shares of both would show a single vector, so this phone says once
        who is gone.

        Args:
            members: Whose values are in, this phone's too.

        Returns:
            Shares by member; none of one who sent a wrong envelope.

        Raises:
            ProtocolError: With reason `"late"`, if they are too few; else if
                they were not among those before, or others were said.
        """
        roster = self._roster
        if roster is None or self._sealers is None:
            raise _changed("values behind shares", "values")
        if self._told not in (None, frozenset(members)):
            raise _changed("the members that are in the sum", "others")
        self._check(members, self._sealers, roster)
        self._told = frozenset(members)
        return {
            other: pair[SHARE_BYTES:]
            if other in members
            else pair[:SHARE_BYTES]
            for other, pair in self._shares.items()
        }

    def _check(
        self, members: Collection[int], among: Collection[int], roster: Roster
    ) -> None:
        """Refuses members that this phone cannot end the sum with."""
        if not set(members) <= set(among):
            raise _changed("members of this sum", "others among them")
        if self._member not in members or len(members) < roster.threshold:
            raise _changed(
                f"{roster.threshold} phones or more of {len(roster.keys)} in "
                "a sum, this one among them",
                f"{len(members)}",
                "late",
            )

    def _open(self, roster: Roster, other: int, blob: bytes) -> None:
        """Keeps what another member sealed; nothing if it is wrong.

        The sum can be ended without one share or another.
        """
        key = self._seal_key(roster, other, other, self._member)
        pair = secret_sharing.unseal(key, blob[:SEALED_BYTES]) or b""
        # The server would refuse shares that have other digests.
        if blob[SEALED_BYTES:] == _digests(pair):
            self._shares[other] = pair

    def _seal_key(
        self, roster: Roster, other: int, sender: int, recipient: int
    ) -> bytes:
        secret = masks.agree(self._seal, roster.keys[other].seal)
        return masks.derive(
            secret, roster.salt, "keras_split seal", sender, recipient
        )


def _digests(pair: bytes) -> bytes:
    """Those of two shares, each for itself."""
    shares = pair[:SHARE_BYTES], pair[SHARE_BYTES:]
    return b"".join(map(secret_sharing.digest, shares))


def _changed(
    expected: str, received: str, reason: str = "protocol"
) -> ProtocolError:
    return ProtocolError(
        f"Expected {expected}. Received: {received}. This phone gives nothing "
        "more to this sum; ask for the next round.",
        reason,
    )
