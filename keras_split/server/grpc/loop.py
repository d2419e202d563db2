"""The event loop of all gRPC servers of this process."""

import asyncio
import functools
import threading
from collections.abc import Coroutine
from typing import Any
from typing import TypeVar

_T = TypeVar("_T")


def run(
    coroutine: Coroutine[Any, Any, _T], timeout_s: float | None = None
) -> _T:
    """What a coroutine returns, which runs in the loop meanwhile.

    Raises:
        TimeoutError: If it takes longer; it goes on.
    """
    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result(
        timeout_s
    )


# gRPC keeps to the first loop that it sees, so there is one, and for good.
@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(
        target=loop.run_forever, name="keras_split-grpc", daemon=True
    ).start()
    return loop
