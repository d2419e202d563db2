"""A gRPC server in front of one body."""

import logging
import threading
from collections.abc import Callable
from collections.abc import Iterator
from concurrent import futures
from types import TracebackType
from typing import Any
from typing import TypeVar

import grpc
from grpc_health.v1 import health
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from keras_split.codecs import Codec
from keras_split.errors import ProtocolError
from keras_split.errors import TransportError
from keras_split.host import Host
from keras_split.messages import Message
from keras_split.messages import Refusal
from keras_split.messages import Welcome
from keras_split.wire import convert
from keras_split.wire import frames
from keras_split.wire import split_pb2 as pb
from keras_split.wire import split_pb2_grpc

_T = TypeVar("_T")
_LOG = logging.getLogger("keras_split.server")
_SPARE = 4  # threads for health, reflection and unary calls
_SERVICE = pb.DESCRIPTOR.services_by_name["SplitTraining"].full_name


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
        max_streams: Clients at the same time.

    Raises:
        TransportError: If the port cannot be had.
    """

    def __init__(
        self,
        host: Host,
        codec: Codec,
        address: str = "127.0.0.1",
        port: int = 50051,
        *,
        max_streams: int = 64,
    ) -> None:
        limit = host.max_message_bytes + frames.CHUNK_BYTES
        self._host = host
        self._server = grpc.server(
            _Threads(),
            # A client too many hears so at once.
            maximum_concurrent_rpcs=max_streams + _SPARE,
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", limit),
                ("grpc.http2.lookahead_bytes", 8 << 20),
                ("grpc.keepalive_time_ms", 20_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ),
        )
        split_pb2_grpc.add_SplitTrainingServicer_to_server(
            _Servicer(host, codec), self._server
        )
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME),
            self._server,
        )
        self.target = f"{address}:{port}"
        try:
            self.port = self._server.add_insecure_port(self.target)
        except RuntimeError as error:
            raise TransportError(
                f"Expected to listen on {self.target}. Received: "
                "the address is in use or not of this machine. Choose another "
                "--port, or stop the server that has it."
            ) from error
        self.target = f"{address}:{self.port}"

    def start(self) -> "Server":
        """Starts to answer; returns at once."""
        for service in ("", _SERVICE):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._server.start()
        return self

    def wait(self) -> None:
        """Waits until the server is stopped."""
        self._server.wait_for_termination()

    def stop(self, grace_s: float = 1.0) -> None:
        """Stops to answer; steps in flight get `grace_s` to end."""
        self._health.enter_graceful_shutdown()
        # Not for ever: after a request that is no protobuf, gRPC 1.85 may
        # count its call as open for good.
        self._server.stop(grace_s).wait(grace_s + 2.0)
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


class _Threads(futures.Executor):
    """One thread for each call, which does not keep the process alive.

    gRPC's usual pool is joined at exit, and waits for ever for streams whose
    clients are still there.
    """

    def submit(
        self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any
    ) -> "futures.Future[_T]":
        future: futures.Future[_T] = futures.Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future


class _Servicer(split_pb2_grpc.SplitTrainingServicer):
    def __init__(self, host: Host, codec: Codec) -> None:
        self._host = host
        self._codec = codec

    def Train(
        self, request_iterator: Iterator[pb.Frame], context: Any
    ) -> Iterator[pb.Frame]:
        """One session; it ends with its stream."""
        sessions: list[str] = []
        peer = context.peer()
        try:
            limit = self._host.max_message_bytes
            for envelope, payload in frames.join(request_iterator, limit):
                message = self._read(envelope, payload)
                reply = self._answer(message)
                if isinstance(reply, Welcome):
                    sessions.append(reply.session)
                    _LOG.info("%s opened session %s", peer, reply.session)
                elif isinstance(reply, Refusal):
                    _LOG.warning(
                        "refused %s (%s): %s", peer, reply.reason, reply.text
                    )
                yield from frames.split(*self._write(reply))
        except ProtocolError as error:  # the stream cannot be followed
            _LOG.warning("refused %s (%s): %s", peer, error.reason, error)
            refusal = Refusal(error.reason, str(error))
            yield from frames.split(*self._write(refusal))
        except grpc.RpcError:
            pass  # the client went away
        finally:
            for session in sessions:
                self._host.close(session)
                _LOG.info("%s closed session %s", peer, session)

    def Exchange(self, request: pb.Envelope, context: Any) -> pb.Envelope:
        """One message of a client that cannot stream."""
        reply = self._answer(self._read(request, request.payload))
        envelope, payload = self._write(reply)
        envelope.payload = b"".join(payload)
        return envelope

    def _read(self, envelope: pb.Envelope, payload: Any) -> Message | Refusal:
        limit = self._host.max_message_bytes
        try:
            if payload is None:
                raise ProtocolError(
                    f"Expected a message of at most {limit:,} bytes. "
                    f"Received: {envelope.payload_bytes:,} bytes. Use a "
                    "smaller batch, or raise the server's --max-batch.",
                    "size",
                )
            return convert.from_wire(envelope, payload, self._codec, limit)
        except ProtocolError as error:
            return Refusal(error.reason, str(error))

    def _answer(self, message: Message) -> Message:
        if isinstance(message, Refusal):
            return message
        return self._host.handle(message)

    def _write(self, reply: Message) -> tuple[pb.Envelope, list[Any]]:
        return convert.to_wire(reply, self._codec)
