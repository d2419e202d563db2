"""How many calls a server answers at a time, beside those that train."""

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc

from keras_split.errors import RefusedError
from keras_split.server.flood import Tracebacks
from keras_split.server.grpc.guests import Guests
from keras_split.server.grpc.refusals import refusing
from keras_split.server.watchdog import Watch
from keras_split.server.watchdog import Watchdog

LONGEST_BYTES = 4 << 10  # nobody has more to say there


class Gate(grpc.ServerInterceptor):
    """Keeps health, reflection and status from crowding out training.

    Their calls have a few places of their own, and must soon say, in a few
    words, what they want. What goes on for long after that, a watch, has
    other places, so that those who ask and go are always answered.

    Args:
        guests: Places for calls.
        watches: Places for those that go on after their request has come.
        timeout_s: How long a request may take to arrive.
        watchdog: Ends those that take longer.
        tracebacks: Logs what should not be raised.
        others: The methods that the gate is not for.
    """

    def __init__(
        self,
        guests: Guests,
        watches: Guests,
        timeout_s: float,
        watchdog: Watchdog,
        tracebacks: Tracebacks,
        others: frozenset[str],
    ) -> None:
        self._guests = guests
        self._watches = watches
        self._timeout_s = timeout_s
        self._watchdog = watchdog
        self._tracebacks = tracebacks
        self._others = others

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """The method's handler, guarded."""
        handler = continuation(details)
        if handler is None or details.method in self._others:
            return handler
        guarded = self._stream if handler.request_streaming else self._single

        # gRPC would wait for a single request before it calls anybody; only
        # a handler of streams is called at once. It would write a traceback
        # for each request that it cannot read.
        def serve(requests: Any, context: Any) -> Iterator[Any]:
            with refusing(context, self._tracebacks):
                yield from guarded(handler, requests, context)

        return grpc.stream_stream_rpc_method_handler(
            serve, None, handler.response_serializer
        )

    @contextlib.contextmanager
    def _guest(self, context: Any) -> Iterator[Watch]:
        """A place for a call whose request must soon be here."""
        with (
            self._guests.take(context.peer(), context.cancel),
            self._watchdog.watch(context.cancel) as watch,
        ):
            watch.allow(self._timeout_s)
            yield watch

    def _single(
        self, handler: Any, requests: Any, context: Any
    ) -> Iterator[Any]:
        with self._guest(context) as watch:
            request = _read(handler, next(requests, b""))
            watch.rest()
            if not handler.response_streaming:
                yield handler.unary_unary(request, context)
                return
        with self._watches.take(context.peer(), context.cancel):
            yield from handler.unary_stream(request, context)

    def _stream(
        self, handler: Any, requests: Any, context: Any
    ) -> Iterator[Any]:
        with self._guest(context):
            arriving = (_read(handler, raw) for raw in requests)
            if handler.response_streaming:
                yield from handler.stream_stream(arriving, context)
            else:
                yield handler.stream_unary(arriving, context)


def _read(handler: Any, raw: bytes) -> Any:
    """A request that has come.

    Raises:
        RefusedError: If it is too long, or cannot be read.
    """
    if len(raw) > LONGEST_BYTES:
        raise RefusedError(
            f"Expected a request of at most {LONGEST_BYTES:,} bytes. "
            f"Received: {len(raw):,}.",
            "size",
        )
    if handler.request_deserializer is None:
        return raw
    try:
        return handler.request_deserializer(raw)
    except Exception as error:
        raise RefusedError(
            f"Expected a request of protobuf. Received: {len(raw):,} bytes "
            "that are none.",
            "unreadable",
        ) from error
