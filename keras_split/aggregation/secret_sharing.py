"""Secrets that some members together know, and the envelopes of their shares.

Shamir 1979 (10.1145/359168.359176) over GF(2^128), modulo
`x^128 + x^7 + x^2 + x + 1`: the first bit of 16 bytes is the coefficient of
`x^127`. The member that stands at place `i` of a roster, from 0, has the value
at `i + 1`.
"""

import hashlib
from collections.abc import Mapping

from Crypto.Protocol.SecretSharing import Shamir
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET_BYTES = 16
SHARE_BYTES = 16
DIGEST_BYTES = 32
_TAG_BYTES = 16
# A key seals one message only.
_NONCE = bytes(12)


def split(secret: bytes, threshold: int, members: int) -> list[bytes]:
    """Shares of a secret, 16 bytes each, by place.

    Args:
        secret: 16 bytes.
        threshold: So many of them have the secret; fewer know nothing of it.
        members: How many shares to make.
    """
    return [share for _, share in Shamir.split(threshold, members, secret)]


def combine(shares: Mapping[int, bytes]) -> bytes:
    """The secret of shares, by place: as many as the threshold says."""
    return Shamir.combine([(place + 1, s) for place, s in shares.items()])


def digest(data: bytes) -> bytes:
    """SHA-256, which tells a share from a forged one and nothing else."""
    return hashlib.sha256(data).digest()


def sealed_bytes(count: int) -> int:
    """Length of an envelope around so many bytes."""
    return count + _TAG_BYTES


def seal(key: bytes, message: bytes) -> bytes:
    """An envelope that only this key opens: AES-256-GCM, a nonce of zeros.

    Args:
        key: 32 bytes; for this one message.
        message: What it is around.
    """
    return AESGCM(key).encrypt(_NONCE, message, None)


def unseal(key: bytes, sealed: bytes) -> bytes | None:
    """What is in an envelope; None if it was not sealed with this key."""
    try:
        return AESGCM(key).decrypt(_NONCE, sealed, None)
    except (InvalidTag, ValueError):
        return None
