"""How gRPC says that a call has no reply."""

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc

from keras_split.errors import RefusedError
from keras_split.protocol.reasons import METADATA_KEY
from keras_split.server.flood import Tracebacks
from keras_split.transports.address import peer_host

CODES = {
    "busy": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "permission": grpc.StatusCode.PERMISSION_DENIED,
    "size": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "unimplemented": grpc.StatusCode.UNIMPLEMENTED,
}


@contextlib.contextmanager
def refusing(context: Any, tracebacks: Tracebacks) -> Iterator[None]:
    """Ends the call with the status of a `RefusedError` raised within.

    One status has several reasons; which it was is in the trailing metadata.
    Of what should not be raised at all, gRPC would log a traceback each
    time, and tell the caller what it says.
    """
    try:
        yield
    except RefusedError as error:
        context.set_trailing_metadata(((METADATA_KEY, error.reason),))
        context.abort(
            CODES.get(error.reason, grpc.StatusCode.FAILED_PRECONDITION),
            str(error),
        )
    except grpc.RpcError:  # the client went away
        raise
    except Exception as error:
        if context.code() is not None:  # the call was ended within
            raise
        tracebacks.log(peer_host(context.peer()), "a call failed")
        context.abort(
            grpc.StatusCode.INTERNAL,
            f"Expected to answer a call. Received: {type(error).__name__} on "
            "the server; its log has the traceback.",
        )
