"""What a message says of rows that its server keeps from before."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

DIGEST_BYTES = 16
# Digests are in what describes a message, which has 64 KiB.
MOST_ROWS = 2048


@dataclass(frozen=True)
class KnownRows:
    """All rows of a message, by their digests; some of them come with it.

    A row is what crosses of one example, or, where a scale is of the whole
    batch, of all of them together.

    Attributes:
        batch: Examples of the whole message.
        digests: One for each row, in order, one behind the other.
    """

    batch: int
    digests: bytes

    def __iter__(self) -> Iterator[bytes]:
        """The digests, one by one."""
        for start in range(0, len(self.digests), DIGEST_BYTES):
            yield self.digests[start : start + DIGEST_BYTES]


def digest(row: bytes) -> bytes:
    """The digest of a row, BLAKE2b of 16 bytes.

    Example:
    >>> digest(b"row").hex()
    '3f072509eb373be6a0aa5ab00b349f10'
    """
    return hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest()
