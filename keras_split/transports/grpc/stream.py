"""A call of gRPC over which bytes go both ways, and its end."""

import queue
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import grpc

_LAST_S = 5.0  # for a thread that has nothing to do any more


class Stream:
    """Bytes leave through a queue and are read as they come.

    They are read in a thread of its own, so that a wait can have an end. It
    is gone before the interpreter is, even if nobody closes the stream:
    gRPC's call takes its lock once more when it is freed, and would wait for
    ever if the exit had killed a thread that held it.

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
        self._timeout_s = timeout_s
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        call = channel.stream_stream(method)(  # bytes, as they are
            iter(self._outgoing.get, None), metadata=metadata
        )
        reader = threading.Thread(
            target=_read,
            args=(call, self._arrived),
            name="keras_split-reader",
            daemon=True,
        )
        reader.start()
        self._end = weakref.finalize(
            self, _end, self._outgoing, call, channel, reader
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

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._code

    def details(self) -> str:
        """What the other side said of it."""
        return self._details


def _read(call: Any, arrived: "queue.SimpleQueue[Any]") -> None:
    try:
        for raw in call:
            arrived.put(raw)
        arrived.put(None)
    except grpc.RpcError:
        arrived.put(_BrokenOffError(call.code(), call.details()))
    except Exception as error:
        arrived.put(error)


def _end(
    outgoing: "queue.SimpleQueue[bytes | None]",
    call: Any,
    channel: grpc.Channel,
    reader: threading.Thread,
) -> None:
    outgoing.put(None)
    call.cancel()
    channel.close()
    if reader is not threading.current_thread():
        reader.join(_LAST_S)
