"""What files hold, read again when they change."""

import logging
import os
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Generic
from typing import TypeVar

from keras_split.errors import DataError

_LOG = logging.getLogger("keras_split.server")
_LOOK_EVERY_S = 1.0
_T = TypeVar("_T")


class FreshFiles(Generic[_T]):
    """What files hold, read again when they change.

    Nobody has to say so: whoever asks for the value finds out, at most once
    a second. Files that are of no use then, or of which one has changed and
    the other has not yet, leave the value as it was, and the log says why.

    Args:
        what: What they hold, in words.
        paths: Where they are.
        read: Reads them all.
        clock: What time it is, in seconds.

    Raises:
        DataError: If they are of no use at the start.
    """

    def __init__(
        self,
        what: str,
        paths: Sequence[str | os.PathLike[str]],
        read: Callable[[], _T],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._paths = paths
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._looked = clock()
        self._seen = self._look()
        self._value = read()

    @property
    def value(self) -> _T:
        """What the files hold, as of a second ago."""
        if self._clock() - self._looked >= _LOOK_EVERY_S:
            self.reload()
        return self._value

    def reload(self, *, anyway: bool = False) -> None:
        """Looks at the files now.

        Args:
            anyway: Whether to read them even if they look as before.
        """
        with self._lock:
            self._looked = self._clock()
            seen = self._look()
            if seen == self._seen and not anyway:
                return
            # First what they look like: what changes from here on is seen.
            self._seen = seen
            try:
                self._value = self._read()
            except DataError as error:
                _LOG.error("the %s stay as they were: %s", self._what, error)
            else:
                _LOG.info("read the %s anew", self._what)

    def _look(self) -> list[tuple[int, ...] | None]:
        found: list[tuple[int, ...] | None] = []
        for path in self._paths:
            try:
                about = os.stat(path)
            except OSError:
                found.append(None)
            else:
                found.append((about.st_mtime_ns, about.st_size, about.st_ino))
        return found
