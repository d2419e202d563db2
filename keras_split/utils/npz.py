"""An .npz file that is whole or not there, and never pickled."""

import errno
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# What file systems answer that cannot sync a folder; a phone's are such.
_NO_SYNC = (errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOTSUP)


class BrokenError(ValueError):
    """The file cannot be read; the message says why, in a few words.

    Whoever reads turns it into an error that names the file.
    """


def read(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Reads all arrays of a file. Pickles are refused: they can run code.

    Raises:
        BrokenError: If there is no such file, or anything about it is wrong.
    """
    try:
        # np.load leaves a file that it opened itself open when it fails.
        with Path(path).open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array without a name")
            with loaded:
                arrays = {name: loaded[name] for name in loaded.files}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):  # a member that is no .npy
                raise ValueError(f"{name!r} in it is no array")
    except Exception as error:
        # A broken or hostile file shows in a dozen ways: encrypted members,
        # unknown compressions, sizes beyond the memory, headers that are no
        # Python, and what zipfile, zlib and lzma raise of their own.
        raise BrokenError(str(error) or type(error).__name__) from error
    return arrays


def write(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Writes all arrays to a file, at once.

    Whoever reads meanwhile, or after a crash, finds the old file or the new
    one: a draft beside it is written and synced first, then renamed. Only
    its owner may read it: it holds weights, and names of sessions.

    Raises:
        OSError: If it cannot be written; the old file is as it was.
    """
    path = Path(path)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        flags |= getattr(os, "O_BINARY", 0)  # Windows
        with open(os.open(draft, flags, 0o600), "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
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
