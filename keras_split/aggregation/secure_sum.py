"""The server's part in a secure sum: it adds up what it cannot read."""

import itertools
from collections.abc import Collection
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_split.aggregation import masks
from keras_split.aggregation import secret_sharing
from keras_split.aggregation.roster import PhoneKeys
from keras_split.aggregation.roster import Roster
from keras_split.aggregation.secret_sharing import DIGEST_BYTES
from keras_split.aggregation.secret_sharing import SHARE_BYTES
from keras_split.aggregation.secure_phone import SEALED_BYTES
from keras_split.aggregation.secure_phone import SHARES_BYTES
from keras_split.aggregation.secure_phone import mask_private
from keras_split.errors import ProtocolError

_Vector = np.ndarray[Any, Any]
_Blobs = Mapping[int, bytes]


class SecureSum:
    """One sum: what the members give at each stage, and who is left.

    The `check_...` methods refuse what one member gives, before it counts as
    given; the others take what all have given until the end of a stage. Who
    gives nothing is left out from then on.

    Args:
        cohort: Name of the cohort.
        round: Number of the sum there.
        size: Numbers in a vector.
        bits: Of the numbers under masks, 32 or 64.

    Attributes:
        members: Who is left.
        spoilers: Members with keys or shares that could not end the sum.
    """

    def __init__(
        self, cohort: str, round: int, size: int, bits: int = 64
    ) -> None:
        self._cohort = cohort
        self._round = round
        self._size = size
        self._bits = bits
        self._roster: Roster | None = None
        self._sealers: tuple[int, ...] = ()
        self._digests: dict[int, _Blobs] = {}
        self._total: _Vector = np.zeros(0)
        self.members: tuple[int, ...] = ()
        self.spoilers: set[int] = set()

    # -- keys ----------------------------------------------------------------

    def check_keys(self, keys: bytes) -> None:
        """Refuses keys that others could not use.

        Raises:
            ProtocolError: If they are none.
        """
        read = PhoneKeys.from_bytes(keys, self._bits)
        for key in (read.seal, read.mask):
            masks.agree(bytes(masks.KEY_BYTES), key)

    def keys(self, given: _Blobs) -> _Blobs:
        """The keys of all, for each of them.

        Raises:
            ProtocolError: With reason `"late"`, if they are too few.
            QuantizationError: If their weights leave no room.
        """
        kept: dict[int, bytes] = {}
        seen: set[bytes] = set()
        for member, keys in given.items():
            pair = {keys[:32], keys[32:64]}
            if len(pair) == 2 and not pair & seen:  # nobody's who was first
                kept[member] = keys
                seen |= pair
        roster = Roster.read(self._cohort, self._round, self._bits, kept)
        roster.format  # noqa: B018  refuses
        self._roster = roster
        self.members = tuple(roster.keys)
        return kept

    # -- shares --------------------------------------------------------------

    def check_shares(self, member: int, shares: _Blobs) -> None:
        """Refuses shares that are not one for each other member.

        Raises:
            ProtocolError: If so.
        """
        others = set(self._known.keys) - {member}
        if set(shares) != others or any(
            len(blob) != SHARES_BYTES for blob in shares.values()
        ):
            raise ProtocolError(
                f"Expected shares of {SHARES_BYTES} bytes for each of the "
                f"{len(others)} other members. Received: {len(shares)} of "
                f"{sorted({len(blob) for blob in shares.values()})} bytes.",
                "protocol",
            )

    def shares(self, given: Mapping[int, _Blobs]) -> dict[int, _Blobs]:
        """What each member gets: the shares that others sealed for it.

        Raises:
            ProtocolError: With reason `"late"`, if they are too few.
        """
        self._go_on(given)
        self._sealers = self.members
        self._digests = {
            sender: {to: blob[SEALED_BYTES:] for to, blob in blobs.items()}
            for sender, blobs in given.items()
        }
        return {
            member: {
                sender: blobs[member]
                for sender, blobs in given.items()
                if sender != member
            }
            for member in self.members
        }

    # -- value ---------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, str]:
        """Size and dtype of a masked vector."""
        return self._size + 1, f"uint{self._bits}"

    def values(self, given: Mapping[int, _Vector]) -> None:
        """Adds up masked vectors.

        Raises:
            ProtocolError: With reason `"late"`, if they are too few.
        """
        self._go_on(given)
        self._total = np.zeros(self._size + 1, self.shape[1])
        for vector in given.values():
            self._total += vector

    # -- unmask --------------------------------------------------------------

    def check_unmask(self, member: int, shares: _Blobs) -> None:
        """Refuses shares that others did not give to this member.

        Raises:
            ProtocolError: If one is forged.
        """
        for owner, share in shares.items():
            known = self._digests.get(owner, {}).get(member)
            if owner == member and len(share) == SHARE_BYTES:
                continue  # nobody else saw it; a wrong one is noticed later
            start = DIGEST_BYTES * (owner in self.members)
            if (
                known is None
                or secret_sharing.digest(share)
                != known[start : start + DIGEST_BYTES]
            ):
                raise ProtocolError(
                    f"Expected the share that member {owner} gave to member "
                    f"{member}. Received: another, of {len(share)} bytes.",
                    "protocol",
                )

    def mean(
        self, given: Mapping[int, _Blobs]
    ) -> tuple[_Vector, float, tuple[int, ...]]:
        """Takes the masks off the sum.

        Returns:
            The weighted mean, shape `(size,)`, float32; the weight of all;
            whose values are in it.

        Raises:
            ProtocolError: With reason `"late"`, if shares of a member are too
                few, or not those of its keys.
        """
        roster = self._known
        summed, sealers = self.members, self._sealers
        if len(given) < roster.threshold:
            raise self._over(len(given))
        secrets = {member: self._recover(member, given) for member in sealers}
        if self.spoilers:
            raise self._over(len(given))
        total = self._total.copy()
        for member in summed:
            key = masks.self_key(secrets[member], roster.salt, member)
            masks.add_stream(total, key, subtract=True)
        for member in set(sealers) - set(summed):
            private = mask_private(secrets[member])
            for other in summed:
                lower, higher = sorted((member, other))
                public = roster.keys[other].mask
                key = masks.pair_key(
                    private, public, roster.salt, lower, higher
                )
                # The other one added it if its number is the lower.
                masks.add_stream(total, key, subtract=other == lower)
        mean, weight = roster.format.decode(total)
        return mean, weight, summed

    def _recover(self, member: int, given: Mapping[int, _Blobs]) -> bytes:
        """The secret of a member, from shares of others.

        If there is none, or another than its keys say, it spoiled the sum.
        """
        roster = self._known
        # Its own is last: nobody can tell whether it is the right one.
        holders = sorted(given, key=lambda holder: holder == member)
        found = {
            roster.places[holder]: given[holder][member]
            for holder in holders
            if member in given[holder]
        }
        secret = secret_sharing.combine(
            dict(itertools.islice(found.items(), roster.threshold))
        )
        keys = roster.keys[member]
        if member in self.members:
            right = secret_sharing.digest(secret) == keys.digest
        else:
            right = masks.public_key(mask_private(secret)) == keys.mask
        if not right:
            self.spoilers.add(member)
        return secret

    @property
    def _known(self) -> Roster:
        assert self._roster is not None
        return self._roster

    def _go_on(self, given: Collection[int]) -> None:
        """Goes on with those who gave something."""
        if len(given) < self._known.threshold:
            raise self._over(len(given))
        self.members = tuple(sorted(given))

    def _over(self, left: int) -> ProtocolError:
        threshold, count = self._known.threshold, len(self._known.keys)
        received = f"{left}"
        if self.spoilers:
            received += f", with wrong shares of {sorted(self.spoilers)}"
        return ProtocolError(
            f"Expected {threshold} phones or more of {count} to the end of "
            f"sum {self._round}, and right shares. Received: {received}. This "
            "sum is over without a result; ask for the next round.",
            "late",
        )
