"""The methods of the gRPC service: from gRPC to the endpoint and back."""

from collections.abc import Iterator
from typing import Any

import grpc

from keras_split.protocol.wire import split_pb2 as pb
from keras_split.server.endpoint import Endpoint
from keras_split.server.grpc.authenticator import caller
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

    def train(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """One session. Without a Goodbye it waits to be resumed."""
        with refusing(context, self._endpoint.tracebacks):
            yield from self._endpoint.stream(
                _until_gone(requests),
                caller(self._endpoint, context),
                context.cancel,
            )

    def exchange(self, requests: Iterator[bytes], context: Any) -> bytes:
        """One message of a client that cannot stream."""
        with (
            refusing(context, self._endpoint.tracebacks),
            self._endpoint.call(
                caller(self._endpoint, context), context.cancel
            ) as call,
        ):
            try:
                raw = next(requests, b"")
            except grpc.RpcError:
                return b""  # the client went away
            return call.answer(raw)

    def status(self, request: bytes, context: Any) -> bytes:
        """What the server is doing."""
        with refusing(context, self._endpoint.tracebacks):
            return self._endpoint.status()


def _until_gone(requests: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from requests
    except grpc.RpcError as error:
        raise ConnectionError("the client went away") from error
