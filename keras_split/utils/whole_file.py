"""A file that is whole or not there, whatever happens while it is written."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# What file systems answer that cannot sync a folder; a phone's are such.
_NO_SYNC = (errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOTSUP)


@contextlib.contextmanager
def written(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of `path` in the end.

    Whoever reads meanwhile, or after a crash, finds the old file or the new
    one: a draft beside it is written and synced first, then renamed. Only
    its owner may read it: what is kept so are weights, and secrets.

    Raises:
        OSError: If it cannot be written; the old file is as it was.
    """
    path = Path(path)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        flags |= getattr(os, "O_BINARY", 0)  # Windows
        with open(os.open(draft, flags, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    if os.name == "posix":  # Windows opens no folders
        _sync(path.parent)


def _sync(folder: Path) -> None:
    """Makes a new name in a folder outlive a power cut."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
