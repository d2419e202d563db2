"""Who may see what a server is doing."""

from collections.abc import Callable
from typing import NoReturn

from keras_split.errors import RefusedError
from keras_split.server.callbacks import Caller
from keras_split.server.fresh_files import FreshFiles
from keras_split.server.operator_token import OperatorToken
from keras_split.server.security import Security


class Oversight:
    """Keeps clients and the operator apart: one trains, the other looks on.

    What a server is doing tells who else is there. Without an operator's
    token every client may see it; with one, only who shows it.

    Args:
        security: Where the operator's token is, if there is one.
        is_client: Whether a token is some client's.
        refused: Told who was refused.

    Raises:
        DataError: If the file is of no use, or a client has the same token.
    """

    def __init__(
        self,
        security: Security,
        is_client: Callable[[str], bool],
        refused: Callable[[Caller], object],
    ) -> None:
        self._refused = refused
        self._token = _fresh(security, is_client)

    def is_operator(self, token: str | None) -> bool:
        """Whether a token is the operator's."""
        if self._token is None or token is None:
            return False
        return self._token.value.fits(token)

    def check_client(self, caller: Caller) -> None:
        """Whether a caller may train, as far as its token says.

        Raises:
            RefusedError: With reason `"permission"`, if it is the operator.
        """
        if caller.operator:
            self._refuse(
                caller,
                "a client's token: the operator's shows what the server is "
                "doing, and lets nobody train. Received: the operator's.",
            )

    def check_operator(self, caller: Caller) -> None:
        """Whether a caller may see what the server is doing.

        Raises:
            RefusedError: With reason `"permission"`, if not.
        """
        if self._token is not None and not caller.operator:
            self._refuse(
                caller,
                "the operator's token (serve --operator-token), for it is "
                "told who else is there. Received: another, or none.",
            )

    def reload(self) -> None:
        """Reads the token again, whether or not its file has changed."""
        if self._token is not None:
            self._token.reload(anyway=True)

    def _refuse(self, caller: Caller, words: str) -> NoReturn:
        self._refused(caller)
        raise RefusedError(f"Expected {words}", "permission")


def _fresh(
    security: Security, is_client: Callable[[str], bool]
) -> FreshFiles[OperatorToken] | None:
    path = security.operator_token
    if path is None:
        return None

    def read() -> OperatorToken:
        return OperatorToken.read(path, is_client)

    return FreshFiles("operator's token", [path], read)
