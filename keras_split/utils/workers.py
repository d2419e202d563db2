"""Threads that are used again and do not keep the process alive.

TensorFlow keeps a few kilobytes for every thread that ever called it, so a
thread for each step would fill the memory of a server within days.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any
from typing import TypeVar
from weakref import WeakKeyDictionary

_T = TypeVar("_T")
_Tasks = SimpleQueue[Callable[[], object]]
_IDLE: list[_Tasks] = []
_CALLS: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Calls]" = (
    WeakKeyDictionary()
)


def start(target: Callable[[], object]) -> None:
    """Runs `target`, which must not raise, in a thread of its own."""
    try:
        tasks = _IDLE.pop()
    except IndexError:
        tasks = SimpleQueue()
        threading.Thread(target=_work, args=(tasks,), daemon=True).start()
    tasks.put(target)


async def run(
    target: Callable[[], _T], after: "Future[Any] | None" = None
) -> _T:
    """What `target` returns, which runs in a thread of its own meanwhile.

    Who is cancelled is so when it has returned: what it uses may be let go
    of then.

    Args:
        target: What is run.
        after: It is not begun before this is done, and never if who waits is
            cancelled until then.
    """
    loop = asyncio.get_running_loop()
    future: Future[_T] = Future()

    def work() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(target())
        except BaseException as error:
            future.set_exception(error)
        soon(loop, wake)

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    cancelled = None
    woken = loop.create_future()
    if after is None:
        start(work)
    else:
        after.add_done_callback(lambda done: start(work))
    while True:
        try:
            await woken  # shielding costs the loop two rounds more
        except asyncio.CancelledError as error:
            if after is not None and future.cancel():
                raise
            cancelled = error
        if future.done():
            break
        woken = loop.create_future()
    if cancelled is not None:
        raise cancelled
    return future.result()


def soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Has an event loop call something, in order, from another thread."""
    calls = _CALLS.get(loop)
    if calls is None:
        calls = _CALLS.setdefault(loop, _Calls())
    calls.add(loop, call)


class _Calls:
    """What an event loop is to call, which is woken once for many.

    To wake it is a call of the system, and a thread that comes back from one
    waits until Python has time for it.
    """

    def __init__(self) -> None:
        self._calls: deque[Callable[[], object]] = deque()
        self._woken = False

    def add(
        self, loop: asyncio.AbstractEventLoop, call: Callable[[], object]
    ) -> None:
        self._calls.append(call)
        if not self._woken:
            self._woken = True
            loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        self._woken = False  # first: what comes from now on wakes it again
        try:
            while self._calls:
                self._calls.popleft()()
        finally:
            if self._calls:  # one has raised
                asyncio.get_running_loop().call_soon(self._run)


def _work(tasks: _Tasks) -> None:
    while True:
        tasks.get()()
        _IDLE.append(tasks)
