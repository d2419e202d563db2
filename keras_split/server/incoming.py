"""What a client sends over one stream, as it arrives."""

import time
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.server.limits import Share
from keras_split.server.limits import StreamLimits
from keras_split.server.watchdog import Watch


class Incoming:
    """Envelopes of one stream: timed, counted and bounded.

    Args:
        requests: Frames as bytes, as they arrive.
        watch: Ends the call when its client takes too long.
        share: Room for payloads.
        limits: What too long is.
        limit: Longest payload that is kept.

    Attributes:
        nbytes: What came so far of the message that is arriving, or the
            length of the one that has come.
    """

    def __init__(
        self,
        requests: Iterable[bytes],
        watch: Watch,
        share: Share,
        limits: StreamLimits,
        limit: int,
    ) -> None:
        self.nbytes = 0
        self._requests = requests
        self._watch = watch
        self._share = share
        self._limits = limits
        self._limit = limit
        self._began = time.monotonic()
        self._welcome = False

    def __iter__(self) -> Iterator[tuple[pb.Envelope, Any]]:
        """Envelopes and payloads, as `frames.join` gives them."""
        self._wait()
        arriving = frames.join(self._frames(), self._limit, self._share.take)
        for arrived in arriving:
            self._watch.rest()  # now it is the client that waits
            yield arrived
            del arrived
            self._share.free()
            self.nbytes = 0
            self._wait()

    def welcome(self) -> None:
        """A session was opened: there is no more hurry to say hello."""
        self._welcome = True

    def _wait(self) -> None:
        if self._welcome:
            self._watch.allow(self._limits.idle_timeout_s)
        else:
            self._watch.allow(self._limits.hello_timeout_s, since=self._began)

    def _frames(self) -> Iterator[bytes]:
        began = 0.0
        for raw in self._requests:
            if not self.nbytes:
                began = time.monotonic()
            self.nbytes += len(raw)
            if self._welcome:
                self._watch.allow(
                    self._limits.message_timeout_s, self.nbytes, began
                )
            yield raw
