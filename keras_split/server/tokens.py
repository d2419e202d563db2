"""Who a server lets in: names of clients and their tokens."""

import hashlib
import hmac
import logging
import os
from collections.abc import Iterable
from collections.abc import Mapping

from keras_split.errors import DataError
from keras_split.utils.counted import counted

_LOG = logging.getLogger("keras_split.server")
MIN_LENGTH = 16  # shorter ones can be guessed
_BEARER = "Bearer "


class Tokens:
    """Knows clients by their tokens, and keeps only digests of these.

    Args:
        tokens: Token of each client, by the client's name.

    Raises:
        DataError: If a token is too short, or two clients have the same.

    Example:
    >>> tokens = Tokens({"alice": "a-token-of-alice"})
    >>> tokens.who("a-token-of-alice")
    'alice'
    >>> tokens
    Tokens of 1 client
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._digests = {name: digest(t) for name, t in tokens.items()}
        for name, token in tokens.items():
            check(repr(name), token, f"with keras-split certs --token {name}")
        if len(set(self._digests.values())) != len(tokens):
            raise DataError(
                "Expected a token of its own for each client. Received: the "
                "same one twice. Make a new one, as keras-split certs does."
            )

    @classmethod
    def of_digests(cls, digests: Mapping[str, bytes]) -> "Tokens":
        """Knows clients by what `digest` made of their tokens."""
        made = cls({})
        made._digests = dict(digests)
        return made

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Tokens":
        """Reads a file with a line `NAME TOKEN` for each client.

        Empty lines and lines that begin with `#` say nothing. A file that
        other users of the machine can read is logged as a warning.

        Raises:
            DataError: If the file cannot be read, or a line is not of that
                form. The text names the line and never shows it.
        """
        content = read_private(path, "the tokens of clients")
        tokens: dict[str, str] = {}
        for number, line in enumerate(content.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) != 2 or words[0] in tokens:
                wrong = "a name twice" if len(words) == 2 else "something else"
                raise DataError(
                    f"Expected NAME TOKEN in line {number} of {path}. "
                    f"Received: {wrong}. Give each client one line."
                )
            tokens[words[0]] = words[1]
        if not tokens:
            raise DataError(
                f"Expected lines NAME TOKEN in {path}. Received: none, so "
                "nobody could come in. Make some with keras-split certs."
            )
        return cls(tokens)

    def who(self, token: str) -> str | None:
        """The client whose token this is; None if nobody's.

        Takes as long for every token: all of them are compared, by digests
        of the same length.
        """
        asked = digest(token)
        found = None
        for name, known in self._digests.items():
            if hmac.compare_digest(asked, known):
                found = name
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._digests

    def key(self, name: str) -> str:
        """What a client's token is known by, which tells nobody the token."""
        return self._digests[name].hex()

    def holds(self, name: str, key: str) -> bool:
        """Whether a client still has the token that it once came in with."""
        known = self._digests.get(name)
        return known is not None and known.hex() == key

    def __repr__(self) -> str:
        return f"Tokens of {counted(len(self._digests), 'client')}"


def bearer(headers: Iterable[tuple[str, str]]) -> str | None:
    """The token that a call carries, as HTTP and gRPC carry it.

    Args:
        headers: Name and value of each header, or of each item of metadata.

    Example:
    >>> bearer([("Authorization", "Bearer a-token-of-alice")])
    'a-token-of-alice'
    """
    for name, value in headers:
        if name.lower() == "authorization" and value.startswith(_BEARER):
            return value.removeprefix(_BEARER)
    return None


def digest(token: str) -> bytes:
    """What a token is known by; nobody can tell the token from it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def read_private(path: str | os.PathLike[str], what: str) -> str:
    """Reads a file that nobody else should read; the log says if they may.

    Args:
        path: The file.
        what: What is in it, in words.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            content = file.read()
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise DataError(
            f"Expected {what} in the file {path}. Received: "
            f"{error.strerror}. Look at the path and at who may read it."
        ) from error
    if mode & 0o077:
        _LOG.warning(
            "other users of this machine may read %s in %s; chmod 600 it",
            what,
            path,
        )
    return content


def check(whose: str, token: str, how: str) -> None:
    """Checks that a token is of use.

    Args:
        whose: Its holder, in words.
        token: The token, which no message shows.
        how: How to make one, in words.

    Raises:
        DataError: If it can be guessed, or no client can send it.
    """
    if len(token) < MIN_LENGTH:
        raise DataError(
            f"Expected a token of {MIN_LENGTH} or more characters for "
            f"{whose}. Received: {len(token)}. Make one {how}."
        )
    if not (token.isascii() and token.isprintable()):
        raise DataError(
            f"Expected a token of visible ASCII characters for {whose}. "
            f"Received: others, which no client can send. Make one {how}."
        )
