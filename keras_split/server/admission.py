"""Who is let in: clients of a file, and those that were invited."""

import os
from pathlib import Path

from keras_split.server.fresh_files import FreshFiles
from keras_split.server.invited import FILE
from keras_split.server.invited import Invited
from keras_split.server.security import Security
from keras_split.server.tokens import Tokens

_Path = str | os.PathLike[str]


class Admission:
    """Knows clients by their tokens, wherever these come from.

    Args:
        security: Which file has tokens, and whether more are given.
        folder: Where those that are given are kept; None to forget them.

    Attributes:
        asks: Whether a token is asked for at all.
        invited: Clients that the server gave one; None if it gives none.

    Raises:
        DataError: If a file is of no use.
    """

    def __init__(self, security: Security, folder: _Path | None = None) -> None:
        self._file: FreshFiles[Tokens] | None = None
        if (path := security.tokens) is not None:
            self._file = FreshFiles("tokens", [path], lambda: Tokens.read(path))
        self.invited: Invited | None = None
        if security.invites:
            kept = None if folder is None else Path(folder) / FILE
            self.invited = Invited(kept, self._named)
        self.asks = self._file is not None or self.invited is not None

    def who(self, token: str | None) -> tuple[str, str] | None:
        """Name of the client whose token this is, and what it is known by."""
        if token is None:
            return None
        for tokens in self._all():
            name = tokens.who(token)
            if name is not None:
                return name, tokens.key(name)
        return None

    def holds(self, name: str, key: str) -> bool:
        """Whether a client still has the token that it once came in with."""
        return any(tokens.holds(name, key) for tokens in self._all())

    def reload(self) -> None:
        """Reads the files now, whether or not they have changed."""
        if self._file is not None:
            self._file.reload(anyway=True)
        if self.invited is not None:
            self.invited.reload()

    def _all(self) -> list[Tokens]:
        found = [] if self._file is None else [self._file.value]
        if self.invited is not None:
            found.append(self.invited.tokens)
        return found

    def _named(self, name: str) -> bool:
        return self._file is not None and name in self._file.value
