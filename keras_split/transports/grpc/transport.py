"""The phone's end of a gRPC connection."""

import contextlib
import os
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import grpc

from keras_split.compression.codecs import Codec
from keras_split.errors import TransportError
from keras_split.protocol.cohort_messages import Enroll
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.messages import Message
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.transports.grpc.channel import LONGEST_S
from keras_split.transports.grpc.channel import metadata
from keras_split.transports.grpc.channel import open_channel
from keras_split.transports.grpc.channel import refusal
from keras_split.transports.transport import Transport
from keras_split.utils.plain import plain

REPLY_LIMIT_BYTES = 1 << 31
_SERVICE = pb.DESCRIPTOR.services_by_name["SplitTraining"].full_name
_TRAIN = f"/{_SERVICE}/Train"
_LAST_S = 5.0  # for a thread that has nothing to do any more


class GrpcTransport(Transport):
    """Talks to a server over one bidirectional stream.

    Messages leave through a queue and replies are read as they come, so any
    number may be on the way in both directions. After an exchange that broke
    off, whatever the reason, it only raises: its reply may still be on the
    way, and would be taken for the next one.

    Args:
        address: `"host:port"`.
        codec: Packs the codes.
        connect_timeout_s: How long to wait for the server to be there.
        reply_timeout_s: How long to wait for a reply. The first reply of a
            large body takes a minute: the server traces its graph.
        secure: Whether to speak TLS.
        credentials: What to show the server, and how to know it.
        reply_limit_bytes: The most that a reply to so many examples may
            take, on the wire and decoded; a server could make gigabytes of
            kilobytes.

    Raises:
        DataError: If a file of the credentials is of no use.
        TransportError: If the server is not there in time.
    """

    replies_early = True

    def __init__(
        self,
        address: str,
        codec: Codec,
        *,
        connect_timeout_s: float = 10.0,
        reply_timeout_s: float = 600.0,
        secure: bool = False,
        credentials: Credentials | None = None,
        reply_limit_bytes: Callable[[int], int] | None = None,
    ) -> None:
        self._address = address
        self._limit_of = reply_limit_bytes
        self._room = 0  # bytes of the reply that may still come
        self._codec = codec
        self._broken = False
        self._unanswered: deque[tuple[str, float, int]] = deque()
        calling = metadata(credentials)
        channel = open_channel(
            address,
            secure=secure,
            credentials=credentials,
            timeout_s=connect_timeout_s,
        )
        self._stream = Stream(channel, _TRAIN, calling, reply_timeout_s)
        self._envelopes = frames.join(
            self._frames(), REPLY_LIMIT_BYTES, self._take
        )

    def carry(self, message: Message) -> Message:
        """Sends a message and waits for its reply."""
        if self._unanswered:  # something broke off before it was waited for
            self._broken = True
        self._post(message)
        return self._collect()

    def _post(self, message: Message) -> None:
        self._check_whole()
        envelope, payload = convert.to_wire(message, self._codec)
        self._expect(message)
        for frame in frames.split(envelope, payload):
            self.uplink_bytes += len(frame)
            self._stream.send(frame)

    def _await_more(self, message: Message) -> None:
        super()._await_more(message)
        self._expect(message)

    def _expect(self, message: Message) -> None:
        limit = REPLY_LIMIT_BYTES
        if isinstance(message, Enroll):
            self.half_bytes = 16 * message.size
        if self._limit_of is not None:
            known = self._limit_of(_batch_size(message)) + self.half_bytes
            limit = min(limit, known)
        self._unanswered.append((_what(message), time.monotonic(), limit))

    def _take(self, nbytes: int) -> bool:
        self._room -= nbytes
        return self._room >= 0

    def _collect(self) -> Message:
        self._check_whole()
        what, began, limit = self._unanswered.popleft()
        self._room = limit
        self._broken = True  # until it is here
        try:
            reply, content = next(self._envelopes)
        except (StopIteration, grpc.RpcError, queue.Empty) as error:
            refused = None
            if isinstance(error, grpc.RpcError):
                refused = refusal(error, self._address)
            raise refused or TransportError(
                f"Expected a reply from {self._address} to {what}. "
                f"Received: {_cause(error)} after "
                f"{time.monotonic() - began:.1f} s. The server went away or "
                "stalled; look at its log, start it again and call fit again."
            ) from error
        self._broken = False
        if content is None:
            raise TransportError(
                f"Expected a reply of at most {limit:,} bytes. "
                f"Received: {reply.payload_bytes:,} bytes from "
                f"{self._address}. Use a smaller batch."
            )
        return convert.from_wire(reply, content, self._codec, limit)

    def close(self) -> None:
        """Ends the stream and closes the connection."""
        self._broken = True
        self._stream.close()

    def _check_whole(self) -> None:
        if self._broken:
            raise TransportError(
                f"Expected a connection to {self._address} that is whole. "
                "Received: one on which an exchange broke off. Open a new one."
            )

    def _frames(self) -> Iterator[bytes]:
        for raw in self._stream:
            self.downlink_bytes += len(raw)
            yield raw


def _what(message: Message) -> str:
    name = f"the {type(message).__name__}"
    step = getattr(message, "step", None)
    return f"{name} of step {step}" if step is not None else name


def _cause(error: Exception) -> str:
    if isinstance(error, grpc.RpcError):
        code, details = error.code(), error.details()
        return f"{code.name} ({plain(details or '')})"
    if isinstance(error, queue.Empty):
        return "nothing"
    return "the end of the stream"


class Stream:
    """Bytes leave through a queue and are read as they come.

    They are read in a thread of its own, so that a wait can have an end. It
    and the thread in which gRPC takes what leaves are gone before the
    interpreter is, even if nobody closes the stream: gRPC's call takes its
    lock once more when it is freed, and would wait for ever if the exit had
    killed a thread that held it.

    Args:
        channel: The connection, which is closed with the stream.
        method: The method's path, `"/service/Method"`.
        metadata: What the call carries.
        timeout_s: How long to wait for each message.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        method: str,
        metadata: tuple[tuple[str, str], ...],
        timeout_s: float = 600.0,
    ) -> None:
        self._timeout_s = min(timeout_s, LONGEST_S)
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        sender: queue.SimpleQueue[threading.Thread] = queue.SimpleQueue()
        call = channel.stream_stream(method)(  # bytes, as they are
            _taken(self._outgoing, sender), metadata=metadata
        )
        reader = threading.Thread(
            target=_read,
            args=(call, self._arrived),
            name="keras_split-reader",
            daemon=True,
        )
        reader.start()
        self._end = weakref.finalize(
            self,
            _end,
            self._outgoing,
            call,
            channel,
            reader,
            sender,
            os.getpid(),
        )

    def send(self, raw: bytes) -> None:
        """Sends bytes as one message, without waiting."""
        self._outgoing.put(raw)

    def __iter__(self) -> Iterator[bytes]:
        """Gives what comes, until the other side ends the stream.

        Raises:
            grpc.RpcError: If the call broke off.
            queue.Empty: If nothing came in time.
        """
        while True:
            item = self._arrived.get(timeout=self._timeout_s)
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        """Ends the call and closes the connection."""
        self._end()


class _BrokenOffError(grpc.RpcError):
    """How a call ended, without the call, which is its own error in gRPC."""

    def __init__(self, call: Any) -> None:
        super().__init__(call.details())
        self._code: grpc.StatusCode = call.code()
        self._details: str = call.details()
        self._metadata = tuple(call.trailing_metadata() or ())

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._code

    def details(self) -> str:
        """What the other side said of it."""
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """And what it sent last."""
        return self._metadata


def _read(call: Any, arrived: "queue.SimpleQueue[Any]") -> None:
    try:
        for raw in call:
            arrived.put(raw)
        arrived.put(None)
    except grpc.RpcError:
        arrived.put(_BrokenOffError(call))
    except Exception as error:
        arrived.put(error)


def _taken(
    outgoing: "queue.SimpleQueue[bytes | None]",
    sender: "queue.SimpleQueue[threading.Thread]",
) -> Iterator[bytes]:
    """What leaves, as gRPC takes it; tells of the thread that does so."""
    sender.put(threading.current_thread())
    yield from iter(outgoing.get, None)


def _end(
    outgoing: "queue.SimpleQueue[bytes | None]",
    call: Any,
    channel: grpc.Channel,
    reader: threading.Thread,
    sender: "queue.SimpleQueue[threading.Thread]",
    owner: int,
) -> None:
    if os.getpid() != owner:
        return  # a forked child has neither the reader nor gRPC's threads
    outgoing.put(None)
    call.cancel()
    channel.close()
    threads = [reader]
    with contextlib.suppress(queue.Empty):  # one that never came to send
        threads.append(sender.get(timeout=_LAST_S))
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(_LAST_S)


def _batch_size(message: Message) -> int:
    """Of how many examples a message is; 0 if of none."""
    sent = getattr(message, "tensors", None)
    counts: list[int] = [sent[0].shape[0] if sent else 0]
    for name in ("microbatch", "rows"):
        part = getattr(message, name, None)
        if part is not None:  # a part of a batch, or with rows left out
            counts.append(part.batch)
    return max(counts)
