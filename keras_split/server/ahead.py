"""An iterator that goes on while what it gave is being used."""

import threading
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any
from typing import TypeVar

from keras_split.utils import workers

_T = TypeVar("_T")
_END = object()


def ahead(
    make: Callable[[Callable[[_T], None]], Generator[_T, None, None]],
    most: int,
) -> Iterator[_T]:
    """Gives the items of a generator, which runs in a thread of its own.

    What the generator is made with takes items that cannot wait for the next
    `yield`. They go first, are not counted, and may come from any thread.

    An error of the generator is raised here. When this one is closed, so is
    the other, in its thread, as soon as it has its next item.

    Args:
        make: Makes the generator.
        most: So many of its items may wait here.

    Example:
    >>> list(ahead(lambda put: (n * n for n in range(4)), 2))
    [0, 1, 4, 9]
    """
    waiting: SimpleQueue[Any] = SimpleQueue()
    room = threading.Semaphore(most)
    closed = threading.Event()

    def put(item: _T) -> None:
        waiting.put((item, None, False))

    items = make(put)

    def run() -> None:
        try:
            for item in items:
                room.acquire()
                if closed.is_set():
                    break
                waiting.put((item, None, True))
                del item
            items.close()
            waiting.put((_END, None, False))
        except BaseException as error:
            waiting.put((_END, error, False))

    workers.start(run)
    try:
        while True:
            item, error, counted = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
            del item
            if counted:
                room.release()
    finally:
        closed.set()
        room.release()
