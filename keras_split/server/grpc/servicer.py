"""The methods of the gRPC service, between its bytes and the host."""

import functools
import logging
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterator
from typing import Any

import grpc

from keras_split.compression.codecs import Codec
from keras_split.errors import ProtocolError
from keras_split.protocol.messages import Message
from keras_split.protocol.messages import Refusal
from keras_split.protocol.messages import Welcome
from keras_split.protocol.status import ServerStatus
from keras_split.protocol.wire import convert
from keras_split.protocol.wire import frames
from keras_split.protocol.wire import split_pb2 as pb
from keras_split.protocol.wire.frame import parse
from keras_split.server.ahead import ahead
from keras_split.server.budget import Budget
from keras_split.server.budget import Share
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import label
from keras_split.server.grpc.gate import Places
from keras_split.server.grpc.security import Authenticator
from keras_split.server.incoming import Incoming
from keras_split.server.limits import StreamLimits
from keras_split.server.rate import Bucket
from keras_split.server.rate import Buckets
from keras_split.server.service import TrainingService
from keras_split.server.watchdog import Watchdog
from keras_split.transports.address import peer_host

_LOG = logging.getLogger("keras_split.server")
SERVICE = pb.DESCRIPTOR.services_by_name["SplitTraining"].full_name
# Of at most 1 MiB each, for every stream: as much as may come in unread.
_FRAMES_AHEAD = 8
TRAINING = frozenset({f"/{SERVICE}/Train", f"/{SERVICE}/Exchange"})


class Servicer:
    """Answers calls: checks, counts and times them, and asks the host.

    Args:
        host: Answers the messages.
        codec: Packs the codes.
        limits: What callers may do.
        watchdog: Ends calls whose clients take too long.
        doorkeeper: Knows who calls.
        status: Says what the server is doing, if anybody may ask.
    """

    def __init__(
        self,
        host: TrainingService,
        codec: Codec,
        limits: StreamLimits,
        watchdog: Watchdog,
        doorkeeper: Authenticator,
        status: Callable[[], ServerStatus] | None = None,
    ) -> None:
        self._host = host
        self._codec = codec
        self._limits = limits
        self._watchdog = watchdog
        self._doorkeeper = doorkeeper
        self._status = status
        self._places = Places(limits.max_streams)
        self._budget = Budget(limits.max_inflight_bytes)
        self._hellos = Buckets(limits.hello_burst, limits.hellos_per_s)
        self._unary = Buckets(limits.messages_per_s, limits.messages_per_s)

    def handlers(self) -> grpc.GenericRpcHandler:
        """What gRPC finds the methods in. All of them take bytes."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Train": grpc.stream_stream_rpc_method_handler(self.train),
                # On the wire a stream of one message is a unary call; gRPC
                # calls us before it has come, so that it can be timed.
                "Exchange": grpc.stream_unary_rpc_method_handler(self.exchange),
                "Status": grpc.unary_unary_rpc_method_handler(self.status),
            },
        )

    def train(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """One session. Without a Goodbye it waits to be resumed.

        Replies leave while the next message is answered, as the client's
        microbatches need it.
        """
        caller = self._doorkeeper.caller(context)
        with self._watchdog.watch(context.cancel) as watch:
            replies = functools.partial(
                self._replies, requests, caller, context
            )
            for raw in ahead(replies, _FRAMES_AHEAD):
                watch.allow(self._limits.transfer_s(len(raw)))
                yield raw
                watch.rest()

    def _replies(
        self,
        requests: Iterator[bytes],
        caller: Caller,
        context: Any,
        put: Callable[[bytes], None],
    ) -> Generator[bytes, None, None]:
        """The frames of all replies to one client; early ones are put."""
        sessions: list[str] = []
        rate = self._limits.messages_per_s
        bucket = Bucket(rate, rate)
        share = Share(self._budget)
        with (
            self._places.enter(context),
            self._watchdog.watch(context.cancel) as watch,
        ):
            incoming = Incoming(
                requests,
                watch,
                share,
                self._limits,
                self._host.max_message_bytes,
            )
            try:
                for arrived in incoming:
                    session, reply = self._answer(
                        *arrived, caller, bucket.take, put
                    )
                    del arrived
                    if isinstance(reply, Welcome):
                        incoming.welcome()
                        sessions.append(reply.session)
                    self._abort_if_forbidden(reply, context)
                    envelope, pieces = convert.to_wire(reply, self._codec)
                    self._count(session, incoming.nbytes, envelope)
                    yield from frames.split(envelope, pieces)
                    del reply, envelope, pieces
            except ProtocolError as error:  # the stream cannot be followed
                refusal = self._refuse(caller, error)
                yield from frames.split(*convert.to_wire(refusal, self._codec))
            except grpc.RpcError:
                pass  # the client went away
            finally:
                share.free()
                for session in sessions:
                    self._host.leave(session)

    def exchange(self, requests: Iterator[bytes], context: Any) -> bytes:
        """One message of a client that cannot stream."""
        caller = self._doorkeeper.caller(context)
        share = Share(self._budget)
        with (
            self._places.enter(context),
            self._watchdog.watch(context.cancel) as watch,
        ):
            watch.allow(self._limits.message_timeout_s)
            try:
                raw = next(requests, b"")
            except grpc.RpcError:
                return b""  # the client went away
            watch.rest()
            session = ""
            try:
                envelope = parse(pb.Envelope, raw)
                payload: Any = envelope.payload
                if not share.take(len(raw)):
                    payload = None
                session, reply = self._answer(
                    envelope, payload, caller, lambda: self._take(caller)
                )
            except ProtocolError as error:
                reply = self._refuse(caller, error)
            finally:
                share.free()
            if isinstance(reply, Welcome):
                self._host.leave(reply.session)  # there is no stream to end
            self._abort_if_forbidden(reply, context)
            envelope, pieces = convert.to_wire(reply, self._codec)
            self._count(session, len(raw), envelope)
            envelope.payload = b"".join(pieces)
            return envelope.SerializeToString()

    def status(self, request: bytes, context: Any) -> bytes:
        """What the server is doing."""
        from keras_split.protocol.wire import status as wire_status

        if self._status is None:
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED,
                "Expected a server that tells its status. Received: a call "
                "to one that does not.",
            )
        assert self._status is not None
        return wire_status.to_wire(self._status()).SerializeToString()

    def _answer(
        self,
        envelope: pb.Envelope,
        payload: Any,
        caller: Caller,
        take: Callable[[], bool],
        put: Callable[[bytes], None] | None = None,
    ) -> tuple[str, Message]:
        """The session that a message belongs to, and the reply to it."""
        try:
            kind = envelope.WhichOneof("message")
            self._check(envelope, payload)
            if not take():
                raise ProtocolError(
                    f"Expected at most {self._limits.messages_per_s:g} "
                    "messages a second. Received: one more. Send it again "
                    "later.",
                    "rate",
                )
            if kind == "hello" and not self._hellos.take(_key(caller)):
                raise ProtocolError(
                    f"Expected at most {self._limits.hellos_per_s:g} new "
                    "sessions a second. Received: one more. Try again later.",
                    "rate",
                )
            message = convert.from_wire(
                envelope, payload, self._codec, self._host.max_message_bytes
            )
        except ProtocolError as error:
            return "", self._refuse(caller, error)
        except Exception as error:
            _LOG.exception("a message could not be read")
            return "", self._refuse(caller, _unexpected(error))
        named = getattr(message, "session", "")

        def early(reply: Message) -> None:
            assert put is not None
            made, pieces = convert.to_wire(reply, self._codec)
            self._count(named, 0, made)
            for raw in frames.split(made, pieces):
                put(raw)

        reply = self._host.handle(message, caller, put and early)
        if isinstance(reply, Refusal):
            _LOG.debug(
                "refused %s (%s): %s", caller.peer, reply.reason, reply.text
            )
            return "", reply
        if isinstance(reply, Welcome):
            return reply.session, reply
        return named, reply

    def _check(self, envelope: pb.Envelope, payload: Any) -> None:
        """Says why a payload was not kept."""
        limit = self._host.max_message_bytes
        if payload is None and envelope.payload_bytes <= limit:
            raise ProtocolError(
                f"Expected {self._limits.max_inflight_bytes:,} bytes or less "
                "in flight from all clients together. Received: a message "
                f"of {envelope.payload_bytes:,} more. Send it again later.",
                "memory",
            )
        if payload is None:
            raise ProtocolError(
                f"Expected a message of at most {limit:,} bytes. "
                f"Received: {envelope.payload_bytes:,} bytes. Use a "
                "smaller batch, or raise the server's --max-batch.",
                "size",
            )

    def _refuse(self, caller: Caller, error: ProtocolError) -> Refusal:
        """A refusal of what never came to the host."""
        _LOG.debug("refused %s (%s): %s", caller.peer, error.reason, error)
        self._host.events.refused("", caller, error.reason)
        return Refusal(error.reason, str(error))

    def _abort_if_forbidden(self, reply: Message, context: Any) -> None:
        if isinstance(reply, Refusal) and reply.reason == "permission":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, reply.text)

    def _count(self, session: str, nbytes: int, reply: pb.Envelope) -> None:
        """Tells how many bytes came, and how many will go."""
        if session:
            self._host.events.carried(
                label(session), nbytes, reply.ByteSize() + reply.payload_bytes
            )

    def _take(self, caller: Caller) -> bool:
        return self._unary.take(_key(caller))


def _key(caller: Caller) -> str:
    """Whose messages are counted together."""
    return caller.client or peer_host(caller.peer)


def _unexpected(error: Exception) -> ProtocolError:
    return ProtocolError(
        f"Expected to read a message. Received: {type(error).__name__} on "
        "the server; its log has the traceback. Nothing was changed.",
        "internal",
    )
