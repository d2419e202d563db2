"""How many calls a server answers at a time, beside those that train."""

from collections.abc import Iterator
from typing import Any

import grpc

from keras_split.server.grpc.refusals import refusing
from keras_split.server.limits import Places
from keras_split.server.watchdog import Watchdog


class Gate(grpc.ServerInterceptor):
    """Keeps health, reflection and status from crowding out training.

    Their calls have a few places of their own, and must soon say what they
    want.

    Args:
        places: How many such calls are answered at a time.
        timeout_s: How long a request may take to arrive.
        watchdog: Ends those that take longer.
        others: The methods that the gate is not for.
    """

    def __init__(
        self,
        places: int,
        timeout_s: float,
        watchdog: Watchdog,
        others: frozenset[str],
    ) -> None:
        self._places = Places(places)
        self._timeout_s = timeout_s
        self._watchdog = watchdog
        self._others = others

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """The method's handler, guarded."""
        handler = continuation(details)
        if handler is None or details.method in self._others:
            return handler
        serve = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )

        # gRPC would wait for a single request before it calls anybody; only
        # a handler of streams is called at once.
        def guarded(requests: Any, context: Any) -> Iterator[Any]:
            with (
                refusing(context),
                self._places.take(),
                self._watchdog.watch(context.cancel) as watch,
            ):
                watch.allow(self._timeout_s)
                request = requests
                if not handler.request_streaming:
                    request = next(requests)
                    watch.rest()
                reply = serve(request, context)
                if handler.response_streaming:
                    yield from reply
                else:
                    yield reply

        return grpc.stream_stream_rpc_method_handler(
            guarded, handler.request_deserializer, handler.response_serializer
        )
