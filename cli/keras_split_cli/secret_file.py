"""`--secret-file`: what the initial weights of head and tail come from."""

import binascii
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import TypeVar

import click

from keras_split import zoo
from keras_split.errors import DataError
from keras_split.server.tokens import read_private
from keras_split.utils.secret import BYTES
from keras_split_cli.console import note

_F = TypeVar("_F", bound=Callable[..., Any])
_WHAT = "the secret of a phone"


def secret_option(function: _F) -> _F:
    """Adds `--secret-file`; `take` takes it out again."""
    option = click.option(
        "--secret-file",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Draw the random initial weights of head and tail from the "
        "secret in this file, for the same ones each time; made if it is not "
        "there. By default from the system's randomness. No server may have "
        "it.",
    )
    return option(function)


def take(
    path: str | None, source: str, otherwise: Path | None = None
) -> bytes | None:
    """The secret that a command draws from; None for a new one.

    Args:
        path: Of the file, if somebody named one.
        source: What the command loads, a preset or a file.
        otherwise: The file if nobody named one; None for none.

    Raises:
        UsageError: If there is nothing to draw.
        DataError: If the file cannot be made or read, or holds no secret.
    """
    drawn = source in zoo.names()
    if path is not None and not drawn:
        raise click.UsageError(
            "Expected --secret-file with a preset, whose initial weights it "
            f"is for. Received: {source}, which has its weights. Leave "
            "--secret-file out."
        )
    if path is not None:
        if _make(Path(path)):
            note(f"Wrote a secret to {path}. Keep it from the server.")
        return _read(Path(path))
    if otherwise is not None and drawn:
        _make(otherwise)
        return _read(otherwise)
    return None


def _make(path: Path) -> bool:
    """Writes a new secret, unless the file is there; says if it did."""
    if path.exists():
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise DataError(
            f"Expected to write {_WHAT} to {path}. Received: "
            f"{error.strerror}. Choose another --secret-file."
        ) from error
    with os.fdopen(file, "w", encoding="ascii") as opened:
        opened.write(f"{secrets.token_hex(BYTES)}\n")
    return True


def _read(path: Path) -> bytes:
    try:
        secret = binascii.unhexlify(read_private(path, _WHAT).strip())
    except (ValueError, binascii.Error):
        secret = b""
    if len(secret) < BYTES:
        raise DataError(
            f"Expected {_WHAT} in {path}: {2 * BYTES} hexadecimal digits or "
            "more, and nothing else. Received: something else. Delete the "
            "file, and another one is made."
        )
    return secret
