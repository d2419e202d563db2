"""Frames on their way to a client."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable
from collections.abc import Callable

from keras_split.protocol.wire import frames
from keras_split.server.watchdog import Watch

# Of at most 1 MiB each, for every stream: as much as may come in unread.
FRAMES_AHEAD = 8
Send = Callable[[bytes], Awaitable[object]]


class Outgoing:
    """Sends the frames of one stream while its next message is answered.

    Used by one event loop. There is a task only while there are frames.

    Args:
        send: Sends one; returns when there is room for the next.
        watch: Ends the call when its client takes too long to take them.
        timeout_s: How long it may take to take a message.
    """

    def __init__(self, send: Send, watch: Watch, timeout_s: float) -> None:
        self._send = send
        self._watch = watch
        self._timeout_s = timeout_s
        self._began, self._nbytes = time.monotonic(), 0
        self._frames: deque[bytes] = deque()
        self._left = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def put(self, raw: bytes) -> None:
        """Sends a frame, however many wait; see `room`.

        A reply that is made when nobody is there any more goes nowhere.
        """
        if self._closed:
            return
        self._frames.append(raw)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def put_in_turn(self, raw: bytes) -> None:
        """Sends a frame, and waits before it while there are too many.

        Raises:
            ConnectionError: If the client went away.
        """
        await self.room()
        self.put(raw)

    async def room(self) -> None:
        """Waits while there are too many.

        Raises:
            ConnectionError: If the client went away.
        """
        while self._waiting() >= FRAMES_AHEAD:
            await self._some_left()

    async def flush(self) -> None:
        """Waits until all have left.

        Raises:
            ConnectionError: If the client went away.
        """
        while self._waiting():
            await self._some_left()

    async def close(self) -> None:
        """Sends no more."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _waiting(self) -> int:
        """How many there are; raises what sending one has raised."""
        if self._task is not None and self._task.done():
            self._task.result()
        return len(self._frames)

    async def _some_left(self) -> None:
        self._left.clear()
        await self._left.wait()

    async def _run(self) -> None:
        try:
            while self._frames:
                await self._leave(self._frames[0])
                self._frames.popleft()
                self._left.set()
            self._task = None
        finally:
            self._left.set()

    async def _leave(self, raw: bytes) -> None:
        if frames.begins(raw):
            self._began, self._nbytes = time.monotonic(), 0
        self._nbytes += len(raw)  # the reply has its time, not each frame
        self._watch.allow(self._timeout_s, self._nbytes, self._began)
        await self._send(raw)
        self._watch.rest()
