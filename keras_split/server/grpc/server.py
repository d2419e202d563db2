"""A gRPC server in front of one body."""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any

import grpc
from grpc_health.v1 import health
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from keras_split.compression.codecs import Codec
from keras_split.errors import TransportError
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.wire import frames
from keras_split.server.grpc.executor import DaemonThreads
from keras_split.server.grpc.gate import Gate
from keras_split.server.grpc.security import Authenticator
from keras_split.server.grpc.security import Security
from keras_split.server.grpc.servicer import SERVICE
from keras_split.server.grpc.servicer import TRAINING
from keras_split.server.grpc.servicer import Servicer
from keras_split.server.limits import StreamLimits
from keras_split.server.service import TrainingService
from keras_split.server.watchdog import Watchdog
from keras_split.transports.address import is_loopback

_LOG = logging.getLogger("keras_split.server")
_GUESTS = 8  # calls of health, reflection and status at the same time
_SPARE = 16  # and those that are just being told that there is no room


class Server:
    """Serves a host until it is stopped.

    Each stream holds one thread, so `max_streams` bounds the clients that
    are connected at the same time. The standard gRPC health and reflection
    services answer on the same port.

    Args:
        host: Answers the messages.
        codec: Packs the codes, as the contract says.
        address: Name or IP address to listen on; loopback by default.
        port: Port to listen on; 0 for any free one.
        security: Certificates and tokens; by default nothing is encrypted
            and nobody is asked.
        insecure: Whether to listen on other addresses than loopback although
            nothing is encrypted.
        status: Says what the server is doing, for `keras-split status`.
        **limits: Fields of `StreamLimits`, such as `max_streams`.

    Raises:
        DataError: If a file of `security` is of no use.
        TransportError: If the port cannot be had, or others could read along
            there.
    """

    def __init__(
        self,
        host: TrainingService,
        codec: Codec,
        address: str = "127.0.0.1",
        port: int = 50051,
        *,
        security: Security | None = None,
        insecure: bool = False,
        status: Callable[[], ServerStatus] | None = None,
        **limits: Any,
    ) -> None:
        security = security or Security()
        credentials = security.server_credentials()
        if credentials is None:
            _check_open(address, insecure)
        self._host = host
        bounds = StreamLimits(**limits)
        self._watchdog = Watchdog(bounds.watch_period_s)
        doorkeeper = Authenticator(security.read_tokens(), host.events)
        gate = Gate(_GUESTS, bounds.hello_timeout_s, self._watchdog, TRAINING)
        self._server = grpc.server(
            DaemonThreads(),
            interceptors=(doorkeeper, gate),
            maximum_concurrent_rpcs=bounds.max_streams + _GUESTS + _SPARE,
            options=_options(host.max_message_bytes + frames.CHUNK_BYTES),
        )
        servicer = Servicer(
            host, codec, bounds, self._watchdog, doorkeeper, status
        )
        self._server.add_generic_rpc_handlers((servicer.handlers(),))
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME),
            self._server,
        )
        self.target = f"{address}:{port}"
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(self.target)
            else:
                self.port = self._server.add_secure_port(
                    self.target, credentials
                )
        except RuntimeError as error:
            raise TransportError(
                f"Expected to listen on {self.target}. Received: "
                "the address is in use or not of this machine. Choose another "
                "--port, or stop the server that has it."
            ) from error
        self.target = f"{address}:{self.port}"

    def start(self) -> "Server":
        """Starts to answer; returns at once."""
        for service in ("", SERVICE):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._watchdog.start()
        self._server.start()
        return self

    def wait(self) -> None:
        """Waits until the server is stopped."""
        self._server.wait_for_termination()

    def stop(self, grace_s: float = 1.0) -> None:
        """Stops to answer; steps in flight get `grace_s` to end.

        First the health service says so, then no step is begun any more, and
        connections are closed when those in flight have ended.
        """
        self._health.enter_graceful_shutdown()
        self._host.drain(grace_s)
        # Nothing is in flight now but last replies and clients that wait for
        # nothing. Not for ever, whatever gRPC believes to be open.
        last_s = min(grace_s, 0.5)
        self._server.stop(last_s).wait(last_s + 2.0)
        self._watchdog.stop()
        self._host.close_all()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _check_open(address: str, insecure: bool) -> None:
    """Whether to listen without TLS there."""
    if is_loopback(address):
        return
    if not insecure:
        raise TransportError(
            f"Expected TLS to listen on {address}, which other machines can "
            "reach. Received: no certificate, so everybody between could "
            "read and change the data. Give --tls-cert and --tls-key "
            "(keras-split certs makes some), listen on 127.0.0.1, or say "
            "--insecure if that is what you want."
        )
    _LOG.warning(
        "listening on %s without TLS: whoever can reach it, or is between, "
        "can read and change what is sent, tokens as well",
        address,
    )


def _options(longest_bytes: int) -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.so_reuseport", 0),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", longest_bytes),
        ("grpc.http2.lookahead_bytes", 8 << 20),
        ("grpc.max_metadata_size", 8 << 10),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.max_connection_idle_ms", 600_000),
        # A client that vanished is noticed within half a minute; one that
        # pings all the time is not listened to.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 3),
    )
