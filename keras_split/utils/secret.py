"""A secret of a phone, from which random numbers are drawn."""

import hashlib
import secrets
from typing import Any

from keras_split.errors import OptionError

BYTES = 16


def checked(secret: bytes | None) -> bytes:
    """A secret that is long enough; a new one where none is given.

    Args:
        secret: 16 bytes or more, or None for 128 bits of the system's
            randomness, which `keras.utils.set_random_seed` does not touch.

    Raises:
        OptionError: If it is no bytes, or too few: a server could try all
            of them.
    """
    if secret is None:
        return secrets.token_bytes(BYTES)
    if not isinstance(secret, bytes):
        raise _refused(f"an object of the class {type(secret).__name__}")
    if len(secret) < BYTES:
        raise _refused(f"{len(secret)}")
    return secret


def derived(secret: bytes, *labels: Any) -> bytes:
    """32 bytes that follow from a secret, and of which none tells another.

    Args:
        secret: The secret.
        *labels: What they are for.
    """
    text = "/".join(map(str, labels)).encode()
    return hashlib.sha256(secret + b"/keras_split/" + text).digest()


def _refused(received: str) -> OptionError:
    return OptionError(
        f"Expected a secret of {BYTES} bytes or more. Received: {received}. "
        "Draw one with secrets.token_bytes(16), or pass None for a new one."
    )
