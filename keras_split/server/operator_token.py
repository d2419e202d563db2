"""The token of who runs a server: it shows what goes on there."""

import hmac
import os
import secrets
from collections.abc import Callable

from keras_split.errors import DataError
from keras_split.server import tokens
from keras_split.utils.counted import counted

_HOW = "by deleting its file: serve writes another one"


class OperatorToken:
    """Knows the operator by a token, and keeps only a digest of it.

    It opens what `keras-split status` and the dashboard show, and nothing
    else: nobody trains with it.

    Args:
        token: The token.

    Raises:
        DataError: If it is too short, or no client could send it.

    Example:
    >>> OperatorToken("a-token-of-mine-").fits("a-token-of-mine-")
    True
    """

    def __init__(self, token: str) -> None:
        tokens.check("the operator", token, _HOW)
        self._digest = tokens.digest(token)

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        is_client: Callable[[str], bool] = lambda token: False,
    ) -> "OperatorToken":
        """Reads a file with the token in it and nothing else.

        Args:
            path: The file. If other users of the machine can read it, the
                log warns of that.
            is_client: Whether a token is some client's.

        Raises:
            DataError: If the file cannot be read or holds something else, or
                a client has the same token. The text never shows it.
        """
        words = tokens.read_private(path, "the operator's token").split()
        if len(words) != 1:
            raise DataError(
                f"Expected one token in {path}, and nothing else. Received: "
                f"{counted(len(words), 'word')}. Delete the file, and serve "
                "makes another one."
            )
        if is_client(words[0]):
            raise DataError(
                f"Expected a token of the operator's own in {path}. Received: "
                "that of a client, which would see all others. Delete the "
                "file, and serve makes another one."
            )
        return cls(words[0])

    def fits(self, token: str) -> bool:
        """Whether this is the operator's token."""
        return hmac.compare_digest(tokens.digest(token), self._digest)

    def __repr__(self) -> str:
        return "OperatorToken()"


def make(path: str | os.PathLike[str]) -> bool:
    """Writes a new token to a file, unless the file is there.

    Only its owner may read it.

    Returns:
        Whether it was made.

    Raises:
        DataError: If the file cannot be written.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise DataError(
            f"Expected to write the operator's token to {path}. Received: "
            f"{error.strerror}. Choose another --operator-token."
        ) from error
    with os.fdopen(file, "w", encoding="ascii") as opened:
        opened.write(f"{secrets.token_urlsafe(32)}\n")
    return True
