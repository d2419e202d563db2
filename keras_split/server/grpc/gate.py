"""How many calls a server answers at a time, beside those that train."""

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import grpc

from keras_split.errors import RefusedError
from keras_split.server.flood import Tracebacks
from keras_split.server.grpc.pace import Pace
from keras_split.server.grpc.refusals import begin
from keras_split.server.grpc.refusals import refusing
from keras_split.server.guests import Guests
from keras_split.server.watchdog import Watch
from keras_split.server.watchdog import Watchdog

LONGEST_BYTES = 4 << 10  # nobody has more to say there
_End = Callable[[], object]


class Gate(grpc.aio.ServerInterceptor):
    """Keeps health, reflection and status from crowding out training.

    Their calls have a few places of their own, and must soon say, in a few
    words, what they want; one connection not too often. What goes on for long
    after that, a watch, has other places, so that those who ask and go are
    always answered.

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
        self._pace = Pace()

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """The method's handler, guarded."""
        handler = await continuation(details)
        if handler is None or details.method in self._others:
            return handler
        guarded = self._stream if handler.request_streaming else self._single

        # gRPC would wait for a single request before it calls anybody; only
        # a handler of streams is called at once. It would write a traceback
        # for each request that it cannot read.
        async def serve(requests: Any, context: Any) -> None:
            async with refusing(context, self._tracebacks) as end:
                await self._pace.keep(context.peer())
                await begin(context)
                await guarded(handler, requests, context, end)

        return grpc.stream_stream_rpc_method_handler(
            serve, None, handler.response_serializer
        )

    @contextlib.contextmanager
    def _guest(self, context: Any, end: _End) -> Iterator[Watch]:
        """A place for a call whose request must soon be here."""
        with (
            self._guests.take(context.peer(), end),
            self._watchdog.watch(end) as watch,
        ):
            watch.allow(self._timeout_s)
            yield watch

    async def _single(
        self, handler: Any, requests: Any, context: Any, end: _End
    ) -> None:
        with self._guest(context, end) as watch:
            request = _read(handler, await _only(context))
            watch.rest()
            if not handler.response_streaming:
                await context.write(await handler.unary_unary(request, context))
                return
        with self._watches.take(context.peer(), end):
            async for reply in handler.unary_stream(request, context):
                await context.write(reply)

    async def _stream(
        self, handler: Any, requests: Any, context: Any, end: _End
    ) -> None:
        with self._guest(context, end):
            arriving = (_read(handler, raw) async for raw in requests)
            async for reply in handler.stream_stream(arriving, context):
                await context.write(reply)


async def _only(context: Any) -> bytes:
    """The request of a call that has one.

    gRPC's iterator would keep it for as long as the call is in memory.
    """
    raw = await context.read()
    return b"" if raw is grpc.aio.EOF else raw


def _read(handler: Any, raw: bytes) -> Any:
    """A request that has come.

    Raises:
        RefusedError: If it is too long, or cannot be read.
    """
    if (nbytes := len(raw)) > LONGEST_BYTES:
        del raw  # what is raised is kept for a while, and its frames
        raise RefusedError(
            f"Expected a request of at most {LONGEST_BYTES:,} bytes. "
            f"Received: {nbytes:,}.",
            "size",
        )
    if handler.request_deserializer is None:
        return raw
    try:
        return handler.request_deserializer(raw)
    except Exception as error:
        raise RefusedError(
            f"Expected a request of protobuf. Received: {nbytes:,} bytes "
            "that are none.",
            "unreadable",
        ) from error
