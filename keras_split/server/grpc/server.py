"""Listens with gRPC for an endpoint."""

import contextlib
import threading
from types import TracebackType
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection

from keras_split.errors import TransportError
from keras_split.protocol.wire import frames
from keras_split.server.config import ServerConfig
from keras_split.server.endpoint import Endpoint
from keras_split.server.fresh_files import FreshFiles
from keras_split.server.grpc import health
from keras_split.server.grpc import loop
from keras_split.server.grpc.authenticator import Authenticator
from keras_split.server.grpc.gate import Gate
from keras_split.server.grpc.servicer import SERVICE
from keras_split.server.grpc.servicer import TRAINING
from keras_split.server.grpc.servicer import Servicer
from keras_split.server.guests import Guests
from keras_split.server.security import Certificates
from keras_split.transports.address import join

# What health is asked for beside a service: does it train?
_TRAINS = f"{SERVICE}/training"
_GUESTS = 8  # calls of health, reflection and status at the same time
_WATCHES = 16  # and those that watch the server's health
_WATCHES_OF_A_HOST = 4
_FRAME_BYTES = 64 << 10  # what describes a frame, beside its chunk
_SPARE = 16  # and those that are just being told that there is no room


class Server:
    """Listens with gRPC for an endpoint until it is stopped.

    An event loop has all the streams; a thread is needed only for a message
    that is being answered. `max_streams` bounds the clients that are
    connected at the same time. The standard gRPC health and reflection
    services answer on the same port.

    Args:
        endpoint: Answers the calls.
        address: Name or IP address to listen on, if not that of the
            endpoint's config.
        port: Port to listen on, likewise; 0 for any free one.

    Attributes:
        endpoint: The same.
        port: The port that it listens on.
        target: Address and port, as `"127.0.0.1:50051"`.

    Raises:
        DataError: If a certificate is of no use.
        OptionError: If there can be no such port.
        TransportError: If the port cannot be had, or others could read along
            there.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        address: str | None = None,
        port: int | None = None,
    ) -> None:
        given = {"address": address, "port": port}
        config = ServerConfig.get(
            endpoint.config,
            **{k: v for k, v in given.items() if v is not None},
        )
        self._certificates = _fresh(config)
        self.endpoint = endpoint
        limits = endpoint.limits
        gate = Gate(
            Guests(_GUESTS),
            Guests(_WATCHES, _WATCHES_OF_A_HOST),
            limits.hello_timeout_s,
            endpoint.watchdog,
            endpoint.tracebacks,
            TRAINING,
        )
        never = (_TRAINS,) if endpoint.config.inference_only else ()
        self._health = health.Health(("", SERVICE, _TRAINS), never=never)
        self._stopped = threading.Event()
        wanted = join(config.address, config.port)
        try:
            self._server, self.port = loop.run(
                self._listen(
                    wanted,
                    interceptors=(Authenticator(endpoint), gate),
                    maximum_concurrent_rpcs=(
                        limits.max_streams + _GUESTS + _WATCHES + _SPARE
                    ),
                    options=_options(config.max_unary_bytes),
                )
            )
        except RuntimeError as error:
            raise TransportError(
                f"Expected to listen on {wanted}. Received: "
                "the address is in use or not of this machine. Choose another "
                "--port, or stop the server that has it."
            ) from error
        self.target = join(config.address, self.port)

    def start(self) -> "Server":
        """Starts to answer; returns at once."""
        self._health.enter_service()
        self.endpoint.start()
        loop.run(self._server.start())
        return self

    def reload(self) -> None:
        """Reads certificates and tokens again.

        New connections get the new certificate, and those that are there go
        on; see `Endpoint.reload`, too. Files that change are noticed without
        this.
        """
        if self._certificates is not None:
            self._certificates.reload(anyway=True)
        self.endpoint.reload()

    def wait(self) -> None:
        """Waits until the server is stopped."""
        self._stopped.wait()

    def stop(self, grace_s: float = 1.0) -> None:
        """Stops to answer; steps in flight get `grace_s` to end.

        First the health service says so, then no step is begun any more, and
        connections are closed when those in flight have ended.
        """
        self._health.enter_graceful_shutdown()
        self.endpoint.drain(grace_s)
        # Nothing is in flight now but last replies and clients that wait for
        # nothing. Not for ever, whatever gRPC believes to be open.
        last_s = min(grace_s, 0.5)
        with contextlib.suppress(TimeoutError):
            loop.run(self._server.stop(last_s), last_s + 2.0)
        self.endpoint.close()
        self._stopped.set()

    def __repr__(self) -> str:
        scheme = "grpc" if self._certificates is None else "grpcs"
        asks = self.endpoint.admission.asks
        return f"<Server {scheme}://{self.target}{', tokens' * asks}>"

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def _listen(
        self, target: str, **options: Any
    ) -> tuple[grpc.aio.Server, int]:
        """What listens there, and on which port."""
        server = grpc.aio.server(**options)
        server.add_generic_rpc_handlers(
            (Servicer(self.endpoint).handlers(), self._health.handlers())
        )
        reflection.enable_server_reflection(
            (SERVICE, health.SERVICE, reflection.SERVICE_NAME), server
        )
        certificates = self._certificates
        if certificates is None:
            return server, server.add_insecure_port(target)
        used = certificates.value
        # Asked for at each handshake.
        credentials = grpc.dynamic_ssl_server_credentials(
            _for_handshakes(used),
            lambda: _for_handshakes(certificates.value),
            require_client_authentication=used.client_ca is not None,
        )
        return server, server.add_secure_port(target, credentials)


def _fresh(config: ServerConfig) -> FreshFiles[Certificates] | None:
    """What to speak TLS with; None for a port that is not encrypted."""
    security = config.security
    if config.read_certificates() is None:
        return None
    paths = [
        path
        for path in (security.tls_cert, security.tls_key, security.client_ca)
        if path is not None
    ]

    def read() -> Certificates:
        found = security.read_certificates()
        assert found is not None
        return found

    return FreshFiles("certificates", paths, read)


def _for_handshakes(certificates: Certificates) -> object:
    return grpc.ssl_server_certificate_configuration(
        [(certificates.key, certificates.cert)], certificates.client_ca
    )


def _options(max_unary_bytes: int) -> tuple[tuple[str, int], ...]:
    # gRPC looks at it before it takes the message in, and before anyone is
    # known. It must not depend on the model: strangers are told this number.
    longest_bytes = max(max_unary_bytes, frames.CHUNK_BYTES) + _FRAME_BYTES
    return (
        ("grpc.so_reuseport", 0),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", longest_bytes),
        # So much of a stream comes in before anybody asks for it: two frames.
        # Else gRPC raises it by itself, and long messages that it refuses
        # take 400 MB.
        ("grpc.http2.lookahead_bytes", 2 << 20),
        ("grpc.http2.bdp_probe", 0),
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
