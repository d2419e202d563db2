"""The phone's end of a gRPC connection."""

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc

from keras_split.codecs import Codec
from keras_split.errors import TransportError
from keras_split.messages import Message
from keras_split.transports.transport import Transport
from keras_split.wire import convert
from keras_split.wire import frames
from keras_split.wire import split_pb2 as pb
from keras_split.wire import split_pb2_grpc

OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Room for whole tensors in flight: an echo of 2.4 MB 10.2 -> 7.7 ms.
    ("grpc.http2.lookahead_bytes", 8 << 20),
    # A peer that vanished without a word is noticed within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
REPLY_LIMIT_BYTES = 1 << 31


class GrpcTransport(Transport):
    """Talks to a server over one bidirectional stream.

    Args:
        address: `"host:port"`.
        codec: Packs the codes.
        connect_timeout_s: How long to wait for the server to be there.
        reply_timeout_s: How long to wait for a reply. The first reply of a
            large body takes a minute: the server traces its graph.

    Raises:
        TransportError: If the server is not there in time.
    """

    def __init__(
        self,
        address: str,
        codec: Codec,
        *,
        connect_timeout_s: float = 10.0,
        reply_timeout_s: float = 600.0,
    ) -> None:
        self._address = address
        self._codec = codec
        self._reply_timeout_s = reply_timeout_s
        self._outgoing: queue.SimpleQueue[pb.Frame | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(address, options=OPTIONS)
        ready = grpc.channel_ready_future(self._channel)
        try:
            ready.result(timeout=connect_timeout_s)
        except grpc.FutureTimeoutError as error:
            ready.cancel()
            self._channel.close()
            raise TransportError(
                f"Expected a keras_split server at {address}. Received: no "
                f"connection within {connect_timeout_s:g} s. Start it with "
                "keras-split serve, and look at the host and the port."
            ) from error
        stub = split_pb2_grpc.SplitTrainingStub(self._channel)
        self._call = stub.Train(iter(self._outgoing.get, None))
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._receive, daemon=True).start()
        self._envelopes = frames.join(self._frames(), REPLY_LIMIT_BYTES)

    def _exchange(self, message: Message) -> Message:
        began = time.monotonic()
        envelope, payload = convert.to_wire(message, self._codec)
        for frame in frames.split(envelope, payload):
            self.uplink_bytes += frame.ByteSize()
            self._outgoing.put(frame)
        try:
            reply, content = next(self._envelopes)
        except (StopIteration, grpc.RpcError, queue.Empty) as error:
            raise TransportError(
                f"Expected a reply from {self._address} to {_what(message)}. "
                f"Received: {_cause(error)} after "
                f"{time.monotonic() - began:.1f} s. The server went away or "
                "stalled; look at its log, start it again and call fit again."
            ) from error
        if content is None:
            raise TransportError(
                f"Expected a reply of at most {REPLY_LIMIT_BYTES:,} bytes. "
                f"Received: {reply.payload_bytes:,} bytes from "
                f"{self._address}. Use a smaller batch."
            )
        return convert.from_wire(reply, content, self._codec, REPLY_LIMIT_BYTES)

    def close(self) -> None:
        """Ends the stream and closes the connection."""
        self._outgoing.put(None)
        self._call.cancel()
        self._channel.close()

    def _receive(self) -> None:
        """Runs in a thread of its own, so that a wait can have an end."""
        try:
            for frame in self._call:
                self._arrived.put(frame)
            self._arrived.put(StopIteration())
        except Exception as error:
            self._arrived.put(error)

    def _frames(self) -> Iterator[pb.Frame]:
        while True:
            item = self._arrived.get(timeout=self._reply_timeout_s)
            if isinstance(item, StopIteration):
                return
            if isinstance(item, Exception):
                raise item
            self.downlink_bytes += item.ByteSize()
            yield item


def _what(message: Message) -> str:
    name = f"the {type(message).__name__}"
    step = getattr(message, "step", None)
    return f"{name} of step {step}" if step is not None else name


def _cause(error: Exception) -> str:
    if isinstance(error, grpc.RpcError):
        code, details = error.code(), error.details()
        return f"{code.name} ({details})"
    if isinstance(error, queue.Empty):
        return "nothing"
    return "the end of the stream"
