"""Temporary folders that are gone when their process is, however it ended."""

import contextlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

_PREFIX = "keras_split-"
_LOCK = ".lock"


class Scratch:
    """A temporary folder, which goes with the object or its process.

    A process that is killed leaves its folder behind; the next one that makes
    such a folder clears it away. The lock beside it says whose process lives.

    Attributes:
        name: Where it is. Only its owner may look into it.
    """

    def __init__(self) -> None:
        _clear(Path(tempfile.gettempdir()))
        for last in (False, False, True):
            handle, name = tempfile.mkstemp(_LOCK, _PREFIX)
            lock = os.fdopen(handle, "r+")
            # Another process may have seen it before, and clears it away. Where
            # there are no locks, nobody does.
            if (_take(lock) and os.path.exists(name)) or last:
                break
            _drop(name, lock)
        self.name = name.removesuffix(_LOCK)
        self._end = weakref.finalize(
            self, _finish, self.name, lock, os.getpid()
        )
        os.mkdir(self.name, 0o700)

    def cleanup(self) -> None:
        """Deletes the folder; a second time does nothing."""
        self._end()


def _clear(parent: Path) -> None:
    """Deletes what processes have left that are dead."""
    if fcntl is None:  # Windows cannot tell
        return
    for path in parent.glob(f"{_PREFIX}*{_LOCK}"):
        with contextlib.suppress(OSError), path.open("r+") as lock:
            if path.stat().st_uid == os.getuid() and _take(lock):
                _remove(str(path).removesuffix(_LOCK), lock)


def _take(lock: IO[str]) -> bool:
    """Takes a lock, which the death of this process gives back."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _finish(name: str, lock: IO[str], owner: int) -> None:
    if os.getpid() == owner:  # and not a forked child of it
        _remove(name, lock)


def _remove(name: str, lock: IO[str]) -> None:
    shutil.rmtree(name, ignore_errors=True)
    _drop(name + _LOCK, lock)


def _drop(name: str, lock: IO[str]) -> None:
    """Deletes a lock's file, while nobody else can take it."""
    if fcntl is not None:
        with contextlib.suppress(OSError):
            os.unlink(name)
    lock.close()
    if fcntl is None:  # Windows deletes no open files
        with contextlib.suppress(OSError):
            os.unlink(name)
