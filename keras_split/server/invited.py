"""Clients to whom the server itself gave a token."""

import json
import logging
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

from keras_split.errors import DataError
from keras_split.server.fresh_files import FreshFiles
from keras_split.server.tokens import Tokens
from keras_split.server.tokens import digest
from keras_split.utils import whole_file

_LOG = logging.getLogger("keras_split.server")
FILE = "invited.json"  # in the folder for checkpoints


class Invited:
    """Gives clients names and tokens, and keeps digests of these alone.

    With a file, they outlive the server: a phone that trains goes on with
    the one that comes after it. Whoever deletes a line of the file takes
    that token back. A name is given once, also if its token was taken back:
    sessions belong to names.

    Args:
        path: The file; None if they end with the server.
        taken: Whether another client has a name already.

    Raises:
        DataError: If the file is none of ours.

    Example:
    >>> invited = Invited()
    >>> name, token = invited.add()
    >>> name, invited.tokens.who(token)
    ('web-1', 'web-1')
    >>> invited.remove(name), invited.tokens.who(token)
    (True, None)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        taken: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self._path = None if path is None else Path(path)
        self._taken = taken
        self._lock = threading.Lock()
        self._count = 0
        self._digests: dict[str, bytes] = {}
        self._tokens = Tokens({})
        self._file: FreshFiles[Tokens] | None = None
        if self._path is not None:
            self._file = FreshFiles("joined phones", [self._path], self._read)

    @property
    def tokens(self) -> Tokens:
        """Those that were given, and not taken back."""
        return self._tokens if self._file is None else self._file.value

    def add(self) -> tuple[str, str]:
        """A name and a token for one more client.

        Raises:
            OSError: If the file cannot be written; nobody is added.
        """
        self.reload()
        with self._lock:
            number = self._count + 1
            while self._taken(f"web-{number}"):
                number += 1
            name, token = f"web-{number}", secrets.token_urlsafe(32)
            self._keep(number, self._digests | {name: digest(token)})
        return name, token

    def remove(self, name: str) -> bool:
        """Takes a token back; False if nobody of that name has one.

        Raises:
            OSError: If the file cannot be written; the token is as it was.
        """
        self.reload()
        with self._lock:
            if name not in self._digests:
                return False
            left = {n: d for n, d in self._digests.items() if n != name}
            self._keep(self._count, left)
        return True

    def reload(self) -> None:
        """Reads the file now, if it has changed."""
        if self._file is not None:
            self._file.reload()

    def _keep(self, count: int, digests: dict[str, bytes]) -> None:
        if self._path is not None:
            config = {
                "count": count,
                "sha256": {name: d.hex() for name, d in digests.items()},
            }
            with whole_file.written(self._path) as file:
                file.write(json.dumps(config, indent=1).encode() + b"\n")
        self._set(count, digests)
        self.reload()

    def _read(self) -> Tokens:
        assert self._path is not None
        if not self._path.exists():
            return self._set(self._count, {})
        try:
            config = json.loads(self._path.read_bytes())
            count = int(config["count"])
            digests = {
                str(name): bytes.fromhex(known)
                for name, known in config["sha256"].items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
            raise DataError(
                "Expected digests of the tokens that a server gave in "
                f"{self._path}. Received: {type(e).__name__}. Delete the "
                "file: whom it knew will be asked to join again."
            ) from e
        return self._set(max(count, self._count), digests)

    def _set(self, count: int, digests: dict[str, bytes]) -> Tokens:
        self._count, self._digests = count, digests
        self._tokens = Tokens.of_digests(digests)
        return self._tokens
