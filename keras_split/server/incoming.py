"""Messages on their way from a client."""

import contextlib
import time
from collections.abc import AsyncGenerator
from collections.abc import AsyncIterable
from collections.abc import Callable
from typing import Any

from keras_split.errors import ProtocolError
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.server.limits import Share
from keras_split.server.limits import StreamLimits
from keras_split.server.watchdog import Watch

HELLO_BYTES = 1 << 17  # what may come of a client before its Hello is known


class Incoming:
    """Envelopes of one stream: timed, counted and bounded.

    Args:
        requests: Frames as bytes, as they arrive.
        watch: Ends the call when its client takes too long.
        share: Room for payloads.
        limits: What too long is.
        limit: Longest payload that is kept.
        heard: Called for each part of a message that goes on.

    Attributes:
        nbytes: What came so far of the message that is arriving, or the
            length of the one that has come.
    """

    def __init__(
        self,
        requests: AsyncIterable[bytes],
        watch: Watch,
        share: Share,
        limits: StreamLimits,
        limit: int,
        heard: Callable[[], object] = lambda: None,
    ) -> None:
        self.nbytes = 0
        self._requests = requests
        self._watch = watch
        self._share = share
        self._limits = limits
        self._limit = limit
        self._heard = heard
        self._began = time.monotonic()
        self._welcome = False

    async def messages(self) -> AsyncGenerator[tuple[pb.Envelope, Any], None]:
        """Envelopes and payloads, as `frames.join` gives them."""
        joiner = frames.joiner(self._limit, self._share.take)
        began = 0.0
        self._wait()
        async for raw in self._requests:
            if not self.nbytes:
                began = time.monotonic()
            else:  # one that is whole is heard when it is answered
                self._heard()
            self._count(len(raw), began)
            arrived = joiner.send(raw)
            del raw
            if arrived is None:
                continue
            self._watch.rest()  # now it is the client that waits
            yield arrived
            del arrived
            self._share.free()
            self.nbytes = 0
            self._wait()
        with contextlib.suppress(StopIteration):
            joiner.send(None)

    def welcome(self) -> None:
        """A session was opened: there is no more hurry to say hello."""
        self._welcome = True

    def _wait(self) -> None:
        if self._welcome:
            self._watch.allow(self._limits.idle_timeout_s)
        else:
            self._watch.allow(self._limits.hello_timeout_s, since=self._began)

    def _count(self, nbytes: int, began: float) -> None:
        self.nbytes += nbytes
        if self._welcome:
            self._watch.allow(
                self._limits.message_timeout_s, self.nbytes, began
            )
        elif self.nbytes > HELLO_BYTES:
            raise ProtocolError(
                "Expected a Hello before anything else in a stream, of "
                f"at most {HELLO_BYTES:,} bytes. Received: more. Say "
                "hello first.",
                "size",
            )
