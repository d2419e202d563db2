"""The methods of the gRPC service: from gRPC to the endpoint and back."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from keras_split.protocol.wire import split_pb2 as pb
from keras_split.server.endpoint import Endpoint
from keras_split.server.grpc.authenticator import caller
from keras_split.server.grpc.refusals import begin
from keras_split.server.grpc.refusals import gone
from keras_split.server.grpc.refusals import refusing

SERVICE = pb.DESCRIPTOR.services_by_name["SplitTraining"].full_name
TRAINING = frozenset({f"/{SERVICE}/Train", f"/{SERVICE}/Exchange"})


class Servicer:
    """Brings calls to an endpoint, and its replies back.

    gRPC reads requests without a look: it would end the call over those it
    cannot read, and lose count of it.

    Args:
        endpoint: Answers them.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

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

    async def train(self, requests: Any, context: Any) -> None:
        """One session. Without a Goodbye it waits to be resumed."""

        async def send(raw: bytes) -> None:
            try:
                await context.write(raw)
            except grpc.aio.BaseError as error:
                await gone()
                raise ConnectionError("the client went away") from error

        async with refusing(context, self._endpoint.tracebacks) as end:
            known = caller(self._endpoint, context)
            await begin(context)
            await self._endpoint.stream(_until_gone(context), send, known, end)

    async def exchange(self, requests: Any, context: Any) -> bytes:
        """One message of a client that cannot stream."""
        async with refusing(context, self._endpoint.tracebacks) as end:
            with self._endpoint.call(
                caller(self._endpoint, context), end
            ) as call:
                raw = await anext(_until_gone(context), b"")
                return await call.answer_soon(raw)

    async def status(self, request: bytes, context: Any) -> bytes:
        """What the server is doing."""
        async with refusing(context, self._endpoint.tracebacks):
            return self._endpoint.status(caller(self._endpoint, context))


async def _until_gone(context: Any) -> AsyncIterator[bytes]:
    while (raw := await context.read()) is not grpc.aio.EOF:
        yield raw
        del raw
    await gone()
