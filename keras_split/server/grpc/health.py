"""The standard health service, for those who watch over servers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from collections.abc import Callable
from collections.abc import Iterable
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["Health"].full_name
WATCH_S = 3600.0
_Status = pb.HealthCheckResponse


class Health:
    """Tells of a few services, known from the start, whether they serve.

    The one that comes with gRPC keeps every name that is ever watched.
    Strangers may ask: nothing of what they say is kept here.

    Args:
        services: Names to tell of; the empty one is the whole server.
        never: Those of them that are known, and do not serve.
        watch_s: How long a watch goes on. Its client may begin another.
    """

    def __init__(
        self,
        services: Iterable[str],
        watch_s: float = WATCH_S,
        never: Iterable[str] = (),
    ) -> None:
        self._services = frozenset(services)
        self._never = frozenset(never)
        self._watch_s = watch_s
        self._status = _Status.NOT_SERVING
        self._watches: set[Callable[[], object]] = set()

    def handlers(self) -> grpc.GenericRpcHandler:
        """What gRPC finds the methods in."""
        read = pb.HealthCheckRequest.FromString
        write = _Status.SerializeToString
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(
                    self.check, read, write
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(
                    self.watch, read, write
                ),
            },
        )

    def enter_service(self) -> None:
        """Says from now on that the server serves."""
        self._set(_Status.SERVING)

    def enter_graceful_shutdown(self) -> None:
        """Says from now on that it does not; those who watch hear of it."""
        self._set(_Status.NOT_SERVING)

    async def check(self, request: Any, context: Any) -> Any:
        """How a service does now."""
        if request.service not in self._services:
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                "Expected the name of a service of this server, or none for "
                "the whole. Received: another.",
            )
        return _Status(status=self._status_of(request.service))

    async def watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """How a service does now, and again whenever that changes."""
        if request.service not in self._services:
            yield _Status(status=_Status.SERVICE_UNKNOWN)  # and never will be
            return
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        wake = partial(loop.call_soon_threadsafe, changed.set)
        self._watches.add(wake)
        until, said = loop.time() + self._watch_s, None
        try:
            while (left := until - loop.time()) > 0:
                changed.clear()
                status = self._status_of(request.service)
                if status != said:
                    said = status
                    yield _Status(status=status)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), left)
        finally:
            self._watches.remove(wake)

    def _status_of(self, service: str) -> Any:
        if service in self._never:
            return _Status.NOT_SERVING
        return self._status

    def _set(self, status: Any) -> None:
        self._status = status
        for wake in list(self._watches):
            wake()
