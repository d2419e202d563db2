"""Masks that cancel out in a sum, and the keys that they come from.

A browser's WebCrypto has all of it, so that a phone in another language can
do the same, byte for byte:

* `agree`: X25519 (RFC 7748) of 32-byte keys.
* `derive`: HKDF-SHA256 (RFC 5869). The salt is the digest of the roster
  (`keras_split.aggregation.roster`), so a key is of one round of one cohort
  and of the public keys that all have seen. The info is a label in ASCII and
  the numbers of the members, 4 bytes each, big-endian.
* `add_stream`: AES-256-CTR over zeros from a counter block of zeros, all 128
  bits counting; its bytes are uint32 or uint64, little-endian.
"""

from typing import Any

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers import modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keras_split.errors import ProtocolError

KEY_BYTES = 32
_CHUNK_BYTES = 1 << 18  # stays in a core's cache
_ZEROS = bytes(_CHUNK_BYTES)


def public_key(private: bytes) -> bytes:
    """The public X25519 key, 32 bytes, of a private one."""
    key = X25519PrivateKey.from_private_bytes(private)
    return key.public_key().public_bytes_raw()


def agree(private: bytes, public: bytes) -> bytes:
    """The secret that two members have in common, 32 bytes.

    Raises:
        ProtocolError: With reason `"protocol"`, if the public key is none.
    """
    try:
        other = X25519PublicKey.from_public_bytes(public)
        return X25519PrivateKey.from_private_bytes(private).exchange(other)
    except ValueError as error:  # a wrong length, or a point of small order
        raise ProtocolError(
            "Expected a public X25519 key, 32 bytes. Received: "
            f"{len(public)} bytes: {error}",
            "protocol",
        ) from error


def derive(secret: bytes, salt: bytes, label: str, *members: int) -> bytes:
    """A key, 32 bytes, for one purpose of some members."""
    numbers = b"".join(number.to_bytes(4, "big") for number in members)
    info = label.encode("ascii") + numbers
    return HKDF(hashes.SHA256(), KEY_BYTES, salt, info).derive(secret)


def pair_key(
    private: bytes, public: bytes, salt: bytes, lower: int, higher: int
) -> bytes:
    """The key of a mask that two members have in common.

    The member with the lower number adds the mask, the other subtracts it.
    """
    secret = agree(private, public)
    return derive(secret, salt, "keras_split pair mask", lower, higher)


def self_key(secret: bytes, salt: bytes, member: int) -> bytes:
    """The key of a member's mask of its own, which it adds."""
    return derive(secret, salt, "keras_split self mask", member)


def add_stream(
    vector: np.ndarray[Any, Any], key: bytes, *, subtract: bool = False
) -> None:
    """Adds the mask of a key to a vector, in place, modulo 2^32 or 2^64.

    Args:
        vector: Shape `(numbers,)`, uint32 or uint64.
        key: 32 bytes.
        subtract: Whether to subtract it instead.
    """
    cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    stream = bytearray(_CHUNK_BYTES)
    numbers = np.frombuffer(stream, vector.dtype.newbyteorder("<"))
    change = np.subtract if subtract else np.add
    for start in range(0, vector.size, numbers.size):
        part = vector[start : start + numbers.size]
        cipher.update_into(_ZEROS[: part.nbytes], stream)
        change(part, numbers[: part.size], out=part)
