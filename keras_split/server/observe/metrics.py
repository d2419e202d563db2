"""Counts what a server does, for Prometheus."""

import contextlib
import math
import socket
import threading
import time
from collections import deque
from http.server import HTTPServer
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any

from keras_split.errors import BackendError
from keras_split.errors import TransportError
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import ServerCallback
from keras_split.server.callbacks import StepCommitted
from keras_split.server.observe.reasons import OTHER
from keras_split.server.observe.reasons import known
from keras_split.utils.extras import install

_CONNECTIONS = 8
_TIMEOUT_S = 5.0  # for a request to come
_CLOSED = ("goodbye", "idle", "room", "stopped")
# Seconds. The first step of a large body takes a minute: TensorFlow traces.
_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1, 2.5, 5, 10, 30, 60, 120),
)


class Metrics(ServerCallback):
    """Counters, gauges and histograms in a registry of their own.

    No metric has a label for the session: Prometheus keeps a series for each
    value it has ever seen.

    Attributes:
        registry: A `prometheus_client.CollectorRegistry`.

    Raises:
        BackendError: If prometheus_client is missing.
    """

    def __init__(self) -> None:
        client = _prometheus_client()
        self.registry = registry = client.CollectorRegistry()
        client.ProcessCollector(registry=registry)

        def make(kind: Any, name: str, text: str, **more: Any) -> Any:
            return kind(f"keras_split_{name}", text, registry=registry, **more)

        def counter(name: str, text: str, *labels: str) -> Any:
            return make(client.Counter, name, text, labelnames=labels)

        def seconds(name: str, text: str) -> Any:
            return make(client.Histogram, name, text, buckets=_BUCKETS)

        def gauge(name: str, text: str, value: Any) -> None:
            make(client.Gauge, name, text).set_function(value)

        self._steps = counter("steps", "Steps that changed the body.")
        carried = counter("bytes", "Bytes of messages.", "direction")
        self._uplink = carried.labels("uplink")
        self._downlink = carried.labels("downlink")
        self._refusals = counter("refusals", "Messages refused.", "reason")
        self._opened = counter("sessions_opened", "Sessions opened.")
        self._resumed = counter(
            "sessions_resumed", "Times that a client came back to its session."
        )
        self._closed = counter("sessions_closed", "Sessions ended.", "reason")
        self._queue = seconds(
            "queue_seconds", "How long a backward waited for its turn."
        )
        self._compute = seconds(
            "compute_seconds", "How long forward and backward took."
        )
        self._checkpoint = seconds(
            "checkpoint_seconds", "How long it took to write a checkpoint."
        )
        self._sessions: dict[str, bool] = {}  # and whether it is connected
        self._saved = math.nan
        gauge(
            "sessions", "Sessions that are open.", lambda: len(self._sessions)
        )
        gauge("connections", "Clients that are there.", self._connections)
        gauge(
            "checkpoint_age_seconds",
            "Since the last checkpoint was written or read; NaN without one.",
            lambda: time.monotonic() - self._saved,
        )

    def serve(self, port: int, address: str = "127.0.0.1") -> "MetricsServer":
        """Starts to answer `GET /metrics` in a thread of its own.

        Raises:
            TransportError: If the port cannot be had.
        """
        return MetricsServer(self.registry, port, address)

    def opened(self, session: str, caller: Caller) -> None:
        """Counts a session."""
        self._opened.inc()
        self._sessions[session] = True

    def resumed(self, session: str, caller: Caller, step: int) -> None:
        """Counts a client that came back."""
        self._resumed.inc()
        if session in self._sessions:
            self._sessions[session] = True

    def left(self, session: str) -> None:
        """Counts a client less."""
        if session in self._sessions:
            self._sessions[session] = False

    def closed(self, session: str, reason: str) -> None:
        """Counts a session less."""
        self._closed.labels(reason if reason in _CLOSED else OTHER).inc()
        self._sessions.pop(session, None)

    def committed(self, taken: StepCommitted) -> None:
        """Counts a step and its times."""
        self._steps.inc()
        self._queue.observe(taken.queue_s)
        self._compute.observe(taken.compute_s)

    def refused(self, session: str, caller: Caller, reason: str) -> None:
        """Counts a refusal."""
        self._refusals.labels(known(reason)).inc()

    def carried(self, session: str, uplink: int, downlink: int) -> None:
        """Counts bytes."""
        self._uplink.inc(uplink)
        self._downlink.inc(downlink)

    def checkpointed(self, path: str, seconds: float) -> None:
        """Notes the time, and how long it took."""
        self._saved = time.monotonic()
        self._checkpoint.observe(seconds)

    def loaded(self, path: str, sessions: dict[str, int]) -> None:
        """Counts the sessions that wait for their clients."""
        self._saved = time.monotonic()
        for session in sessions:
            self._sessions[session] = False

    def _connections(self) -> int:
        return sum(list(self._sessions.values()))


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
