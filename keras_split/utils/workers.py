"""Threads that are used again and do not keep the process alive.

TensorFlow keeps a few kilobytes for every thread that ever called it, so a
thread for each step would fill the memory of a server within days.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue

_Tasks = SimpleQueue[Callable[[], object]]
_IDLE: list[_Tasks] = []


def start(target: Callable[[], object]) -> None:
    """Runs `target`, which must not raise, in a thread of its own."""
    try:
        tasks = _IDLE.pop()
    except IndexError:
        tasks = SimpleQueue()
        threading.Thread(target=_work, args=(tasks,), daemon=True).start()
    tasks.put(target)


def _work(tasks: _Tasks) -> None:
    while True:
        tasks.get()()
        _IDLE.append(tasks)
