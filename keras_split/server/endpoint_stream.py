"""A call over which any number of messages goes both ways."""

import threading
import time
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
from functools import partial
from queue import SimpleQueue
from typing import Any
from typing import TypeVar

from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.protocol.messages import Welcome
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.server.answerer import Answerer
from keras_split.server.callbacks import Caller
from keras_split.server.limits import Bucket
from keras_split.server.limits import Places
from keras_split.server.limits import Share
from keras_split.server.limits import StreamLimits
from keras_split.server.service import TrainingService
from keras_split.server.watchdog import Watch
from keras_split.server.watchdog import Watchdog
from keras_split.utils import workers

# Of at most 1 MiB each, for every stream: as much as may come in unread.
_FRAMES_AHEAD = 8
_HELLO_BYTES = 1 << 17  # what may come of a client before its Hello is known
_T = TypeVar("_T")
_END = object()


class EndpointStream:
    """Frames in, frames out. When it ends, its sessions wait to be resumed.

    Args:
        answerer: Answers the messages.
        caller: Who sends them.
        end: Ends the call, from another thread.
        limits: What the caller may do.
        places: One is the stream's, from its first frame to its last.
        watchdog: Ends the call when its client takes too long.
        share: Room for what arrives.
    """

    def __init__(
        self,
        answerer: Answerer,
        caller: Caller,
        end: Callable[[], object],
        limits: StreamLimits,
        places: Places,
        watchdog: Watchdog,
        share: Share,
    ) -> None:
        self._answerer = answerer
        self._caller = caller
        self._end = end
        self._limits = limits
        self._places = places
        self._watchdog = watchdog
        self._share = share

    def replies(
        self, requests: Iterable[bytes]
    ) -> Generator[bytes, None, None]:
        """The frames of all replies, each as soon as it is known.

        They leave while the next message is answered in another thread, as
        the client's microbatches need it.

        Args:
            requests: Frames as they arrive. A `ConnectionError` of theirs
                means that the client went away.

        Raises:
            RefusedError: If the call is to end without a reply, and why.
        """
        began, nbytes = time.monotonic(), 0
        with self._watchdog.watch(self._end) as watch:
            for raw in ahead(partial(self._answers, requests), _FRAMES_AHEAD):
                if frames.begins(raw):
                    began, nbytes = time.monotonic(), 0
                nbytes += len(raw)  # the reply has its time, not each frame
                watch.allow(self._limits.message_timeout_s, nbytes, began)
                yield raw
                watch.rest()

    def _answers(
        self, requests: Iterable[bytes], put: Callable[[bytes], None]
    ) -> Generator[bytes, None, None]:
        """The frames of all replies; those of early ones are put."""
        answerer = self._answerer
        sessions: list[str] = []
        rate = self._limits.messages_per_s
        bucket = Bucket(rate, rate)
        with self._places.take(), self._watchdog.watch(self._end) as watch:
            incoming = Incoming(
                requests,
                watch,
                self._share,
                self._limits,
                answerer.service.max_message_bytes,
                partial(_hear, answerer.service, sessions),
            )
            try:
                for arrived in incoming:
                    session, reply = answerer.answer(
                        *arrived, self._caller, bucket.take, put
                    )
                    del arrived
                    if isinstance(reply, Welcome):
                        incoming.welcome()
                        sessions.append(reply.session)
                    envelope, pieces = answerer.to_wire(
                        reply, session, incoming.nbytes
                    )
                    yield from frames.split(envelope, pieces)
                    del reply, envelope, pieces
            except RefusedError:
                raise
            except ProtocolError as error:  # the stream cannot be followed
                refusal = answerer.refuse(self._caller, error)
                yield from frames.split(*answerer.to_wire(refusal, "", 0))
            except ConnectionError:
                pass  # the client went away
            finally:
                self._share.free()
                for session in sessions:
                    answerer.service.leave(session)


def _hear(service: TrainingService, sessions: Iterable[str]) -> None:
    for session in sessions:
        service.hear(session)


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
        requests: Iterable[bytes],
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
            else:  # one that is whole is heard when it is answered
                self._heard()
            self.nbytes += len(raw)
            if self._welcome:
                self._watch.allow(
                    self._limits.message_timeout_s, self.nbytes, began
                )
            elif self.nbytes > _HELLO_BYTES:
                raise ProtocolError(
                    "Expected a Hello before anything else in a stream, of "
                    f"at most {_HELLO_BYTES:,} bytes. Received: more. Say "
                    "hello first.",
                    "size",
                )
            yield raw


def ahead(
    make: Callable[[Callable[[_T], None]], Generator[_T, None, None]],
    most: int,
) -> Iterator[_T]:
    """Gives the items of a generator, which runs in a thread of its own.

    What the generator is made with takes items that cannot wait for the next
    `yield`. They go first, and may come from any thread. They are counted as
    well: the next that can wait does so until there is room again.

    An error of the generator is raised here. When this one is closed, so is
    the other, in its thread, as soon as it has its next item.

    Args:
        make: Makes the generator.
        most: So many of its items may wait here, and those that cannot wait.

    Example:
    >>> list(ahead(lambda put: (n * n for n in range(4)), 2))
    [0, 1, 4, 9]
    """
    waiting: SimpleQueue[Any] = SimpleQueue()
    changed = threading.Condition()
    count, closed = 0, False

    def put(item: _T) -> None:
        nonlocal count
        with changed:
            count += 1
        waiting.put((item, None))

    items = make(put)

    def run() -> None:
        try:
            for item in items:
                with changed:
                    changed.wait_for(lambda: count < most or closed)
                if closed:
                    break
                put(item)
                del item
            items.close()
            waiting.put((_END, None))
        except BaseException as error:
            waiting.put((_END, error))

    workers.start(run)
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
            del item
            with changed:
                count -= 1
                changed.notify()
    finally:
        with changed:
            closed = True
            changed.notify()
