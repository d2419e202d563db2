"""What a server does, for Prometheus."""

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from http.server import HTTPServer
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any

from keras_split.errors import BackendError
from keras_split.errors import TransportError
from keras_split.protocol.cohort import CohortInfo
from keras_split.protocol.status import ServerStatus
from keras_split.server.callbacks import CallbackList
from keras_split.server.observe.families import Families
from keras_split.server.observe.status_collector import StatusCollector
from keras_split.utils.extras import install

_CONNECTIONS = 8
_TIMEOUT_S = 5.0  # for a request to come


class Metrics(CallbackList):
    """Tells Prometheus what `keras-split status` tells people.

    It counts for itself, so that one may listen to several servers. No metric
    has a label for the session: Prometheus keeps a series for each value it
    has ever seen.

    Args:
        status: Tells what there is to tell, of a server that somebody else
            counts: several replicas, say. It must not wait for anything.

    Attributes:
        registry: A `prometheus_client.CollectorRegistry`.

    Raises:
        BackendError: If prometheus_client is missing.
    """

    def __init__(
        self, status: Callable[[], ServerStatus] | None = None
    ) -> None:
        client = _prometheus_client()
        tally = StatusCollector("", ())
        # Prometheus has its metrics whether or not there is one.
        tally.cohort = lambda: CohortInfo("", "", 0)
        super().__init__([tally])
        self.registry = client.CollectorRegistry()
        client.ProcessCollector(registry=self.registry)
        self.registry.register(Families(status or tally.status))

    def serve(self, port: int, address: str = "127.0.0.1") -> "MetricsServer":
        """Starts to answer `GET /metrics` in a thread of its own.

        Raises:
            TransportError: If the port cannot be had.
        """
        return MetricsServer(self.registry, port, address)


class _HTTPServer(ThreadingMixIn, HTTPServer):
    """Has a thread for each connection, and a few of them.

    One more connection closes the oldest: those who open many and ask for
    nothing shut out themselves.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self._open: deque[Any] = deque()
        self._changed = threading.Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begins to answer a connection."""
        with self._changed:
            oldest = None
            if len(self._open) == _CONNECTIONS:
                oldest = self._open.popleft()
            self._open.append(request)
        if oldest is not None:
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # its thread wakes up
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Closes a connection, when it was answered."""
        with self._changed, contextlib.suppress(ValueError):
            self._open.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: whoever hangs up in between would fill the log."""


class MetricsServer:
    """Answers Prometheus over HTTP until it is closed.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, registry: Any, port: int, address: str) -> None:
        client = _prometheus_client()
        handler = client.MetricsHandler.factory(registry)
        handler.timeout = _TIMEOUT_S
        try:
            self._server = _HTTPServer((address, port), handler)
        except OSError as error:
            raise TransportError(
                f"Expected to listen on {address}:{port} for metrics. "
                f"Received: {error.strerror}. Choose another --metrics-port."
            ) from error
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            name="keras_split-metrics",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Stops to answer; the port is free afterwards."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "MetricsServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _prometheus_client() -> Any:
    try:
        import prometheus_client
    except ImportError as error:
        raise BackendError(
            "Expected prometheus_client, to count for Prometheus. Received: "
            f"{error}. Run: {install('server')}"
        ) from error
    return prometheus_client
