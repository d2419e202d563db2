"""Sends away who has no token, before gRPC waits for a message."""

from typing import Any

import grpc

from keras_split.server.callbacks import Caller
from keras_split.server.endpoint import Endpoint
from keras_split.server.grpc.refusals import refusing
from keras_split.server.tokens import bearer

_HEALTH = "/grpc.health.v1.Health/"


class Authenticator(grpc.aio.ServerInterceptor):
    """Lets in, to every service of the port, whom the endpoint knows.

    The health service answers everybody: those who watch over servers carry
    no tokens.

    Args:
        endpoint: Knows who may come in.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """The method's handler, or one that refuses."""
        if details.method.startswith(_HEALTH) or self._endpoint.knows(
            bearer(details.invocation_metadata)
        ):
            return await continuation(details)
        # Takes any kind of call, and does not wait for its first message.
        return grpc.stream_stream_rpc_method_handler(self._send_away)

    async def _send_away(self, requests: Any, context: Any) -> None:
        async with refusing(context, self._endpoint.tracebacks):
            caller(self._endpoint, context)


def caller(endpoint: Endpoint, context: Any) -> Caller:
    """Who makes a call: its token, its verified certificate, its address.

    Raises:
        RefusedError: If the endpoint wants a token, and this is none.
    """
    names = context.auth_context().get("x509_common_name")
    return endpoint.caller(
        context.peer(),
        bearer(context.invocation_metadata()),
        names[0].decode("utf-8", "replace") if names else "",
    )
