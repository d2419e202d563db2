"""Threads for gRPC that do not keep the process alive."""

from collections.abc import Callable
from concurrent import futures
from typing import Any
from typing import TypeVar

from keras_split.utils import workers

_T = TypeVar("_T")


class DaemonThreads(futures.Executor):
    """One thread for each call.

    gRPC's usual pool is joined at exit, and waits for ever for streams whose
    clients are still there.
    """

    def submit(
        self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any
    ) -> "futures.Future[_T]":
        """Runs a function in a thread of its own."""
        future: futures.Future[_T] = futures.Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        workers.start(run)
        return future
