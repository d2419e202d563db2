"""How many calls are answered at a time."""

import contextlib
import threading
from collections.abc import Iterator

from keras_split.errors import RefusedError


class Places:
    """Places for calls; one that finds none is told so at once.

    Args:
        count: How many there are.

    Example:
    >>> places = Places(1)
    >>> with places.take(), places.take():
    ...     pass
    Traceback (most recent call last):
    keras_split.errors.RefusedError: Expected fewer calls at a time. ...
    """

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)

    @contextlib.contextmanager
    def take(self) -> Iterator[None]:
        """Has a place until the end of a `with`.

        Raises:
            RefusedError: If there is none; its reason is `"busy"`.
        """
        if not self._free.acquire(blocking=False):
            raise RefusedError(
                "Expected fewer calls at a time. Received: one more than "
                "this server answers.",
                "busy",
            )
        try:
            yield
        finally:
            self._free.release()
