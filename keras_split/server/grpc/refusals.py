"""How gRPC says that a call has no reply."""

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc

from keras_split.errors import RefusedError
from keras_split.protocol.reasons import METADATA_KEY

CODES = {
    "busy": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "permission": grpc.StatusCode.PERMISSION_DENIED,
    "size": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "unimplemented": grpc.StatusCode.UNIMPLEMENTED,
}


@contextlib.contextmanager
def refusing(context: Any) -> Iterator[None]:
    """Ends the call with the status of a `RefusedError` raised within.

    One status has several reasons; which it was is in the trailing metadata.
    """
    try:
        yield
    except RefusedError as error:
        context.set_trailing_metadata(((METADATA_KEY, error.reason),))
        context.abort(
            CODES.get(error.reason, grpc.StatusCode.FAILED_PRECONDITION),
            str(error),
        )
