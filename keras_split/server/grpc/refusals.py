"""How gRPC says that a call has no reply."""

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc

from keras_split.errors import RefusedError

_CODES = {
    "busy": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "permission": grpc.StatusCode.PERMISSION_DENIED,
    "size": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "unimplemented": grpc.StatusCode.UNIMPLEMENTED,
}


@contextlib.contextmanager
def refusing(context: Any) -> Iterator[None]:
    """Ends the call with the status of a `RefusedError` raised within."""
    try:
        yield
    except RefusedError as error:
        context.abort(
            _CODES.get(error.reason, grpc.StatusCode.FAILED_PRECONDITION),
            str(error),
        )
