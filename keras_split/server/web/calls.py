"""Messages and status, as Connect carries them."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel
from connectrpc.method import MethodInfo
from connectrpc.method import StreamType
from connectrpc.server import ConnectASGIApplication
from connectrpc.server import Endpoint as Method

from keras_split.errors import RefusedError
from keras_split.protocol.reasons import METADATA_KEY
from keras_split.server.call import Call
from keras_split.server.callbacks import Caller
from keras_split.server.ending import Ending
from keras_split.server.endpoint import Endpoint
from keras_split.server.web.refusals import HttpError
from keras_split.server.web.reply import Reply
from keras_split.server.web.request import Request

SERVICE = "keras_split.v1.SplitTraining"
EXCHANGE, STATUS = f"/{SERVICE}/Exchange", f"/{SERVICE}/Status"
KIND = "application/proto"
STATUS_BYTES = 4 << 10  # nobody has more to ask
_CALL: ContextVar[Call] = ContextVar("call")
_CALLER: ContextVar[Caller] = ContextVar("caller")


class Calls(ConnectASGIApplication["Calls"]):
    """Brings calls of Connect to an endpoint.

    The library speaks Connect: kinds of bodies, deadlines, errors, clients
    that go away. Messages stay bytes, for the endpoint reads them itself;
    who calls and how long a message is, is known before one byte is read.

    Args:
        endpoint: Answers them.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        super().__init__(
            service=self,
            endpoints=lambda calls: {
                EXCHANGE: Method.unary(_method("Exchange"), calls._exchange),
                STATUS: Method.unary(_method("Status"), calls._status),
            },
            read_max_bytes=max(endpoint.longest_bytes, STATUS_BYTES),
            compressions=(),  # a few bytes would become many here
            codecs=[_AsItIs()],
        )

    @property
    def path(self) -> str:
        """Where its methods are."""
        return f"/{SERVICE}"

    async def exchange(
        self, request: Request, reply: Reply, caller: Caller, ending: Ending
    ) -> None:
        """Answers one message.

        Raises:
            HttpError: If it says no length.
            RefusedError: As `Endpoint.call` and `Call.check_length`.
        """
        with self._endpoint.call(caller, ending.end) as call:
            call.check_length(request.length)
            _CALL.set(call)
            await self(_plain(request), request.receive, reply)

    async def status(
        self, request: Request, reply: Reply, caller: Caller
    ) -> None:
        """Says what the server is doing.

        Raises:
            HttpError: If it says no length, or a large one.
        """
        if request.length > STATUS_BYTES:
            raise HttpError(
                413,
                f"Expected at most {STATUS_BYTES:,} bytes. Received: "
                f"{request.length:,}.",
                "size",
            )
        _CALLER.set(caller)
        await self(_plain(request), request.receive, reply)

    async def _exchange(self, raw: bytes, context: Any) -> bytes:
        with self._refusing(context):
            return await _CALL.get().answer_soon(raw)

    async def _status(self, raw: bytes, context: Any) -> bytes:
        with self._refusing(context):
            return self._endpoint.status(_CALLER.get())

    @contextlib.contextmanager
    def _refusing(self, context: Any) -> Iterator[None]:
        """Says in words of Connect that a call has no reply."""
        try:
            yield
        except RefusedError as error:
            refused = HttpError.of(error)
            context.response_headers[METADATA_KEY] = error.reason
            raise ConnectError(Code(refused.code), str(error)) from None
        except Exception as error:
            peer = context.client_address or ""
            self._endpoint.tracebacks.log(peer, "a call failed")
            raise ConnectError(
                Code.INTERNAL,
                f"Expected to answer a call. Received: {type(error).__name__} "
                "on the server; its log has the traceback.",
            ) from None


class _AsItIs:
    """Messages of protobuf, which somebody else reads."""

    def name(self) -> str:
        return "proto"

    def encode(self, message: bytes) -> bytes:
        return message

    def decode(self, data: Any, message_class: Any) -> bytes:
        return bytes(data)


def _plain(request: Request) -> dict[str, Any]:
    """What the library has to know of a request whose head was checked.

    It takes all headers for UTF-8, which those of strangers need not be.
    """
    headers = [(b"content-type", KIND.encode())]
    for name in ("connect-protocol-version", "connect-timeout-ms"):
        if name in request.headers:
            headers.append((name.encode(), request.headers[name].encode()))
    return {**request.scope, "headers": headers}


def _method(name: str) -> MethodInfo[bytes, bytes]:
    return MethodInfo(
        name=name,
        service_name=SERVICE,
        input=bytes,
        output=bytes,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.UNARY,
    )
