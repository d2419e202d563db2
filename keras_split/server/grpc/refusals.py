"""How gRPC says that a call has no reply."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from collections.abc import Callable
from typing import Any

import grpc

from keras_split.errors import RefusedError
from keras_split.protocol.reasons import METADATA_KEY
from keras_split.server.ending import Ending
from keras_split.server.flood import Tracebacks
from keras_split.transports.address import peer_host

CODES = {
    "busy": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "permission": grpc.StatusCode.PERMISSION_DENIED,
    "size": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "unimplemented": grpc.StatusCode.UNIMPLEMENTED,
}
_MOMENT_S = 0.01


@contextlib.asynccontextmanager
async def refusing(
    context: Any, tracebacks: Tracebacks
) -> AsyncIterator[Callable[[], None]]:
    """Ends the call with the status of a `RefusedError` raised within.

    One status has several reasons; which it was is in the trailing metadata.
    Of what should not be raised at all, gRPC would log a traceback each
    time, and tell the caller what it says.

    Returns:
        What breaks the call off, from any thread.
    """
    ending = Ending()
    try:
        yield ending.end
    except RefusedError as error:
        ending.over()
        code = CODES.get(error.reason, grpc.StatusCode.FAILED_PRECONDITION)
        trailing = ((METADATA_KEY, error.reason),)
        await context.abort(code, str(error), trailing)
    except asyncio.CancelledError:
        if not ending.ended:  # the client went away
            raise
        await context.abort(grpc.StatusCode.CANCELLED, "Ended by the server.")
    except grpc.aio.AbortError:  # the call was ended within
        raise
    except grpc.aio.BaseError:  # the client went away
        await gone()
        raise
    except Exception as error:
        ending.over()
        tracebacks.log(peer_host(context.peer()), "a call failed")
        await context.abort(
            grpc.StatusCode.INTERNAL,
            f"Expected to answer a call. Received: {type(error).__name__} on "
            "the server; its log has the traceback.",
        )
    finally:
        ending.over()


async def begin(context: Any) -> None:
    """Sends what stands before the replies, so that the call can be ended.

    gRPC would send it with the first one. Where a call is ended while that
    leaves, it would try to send it twice, fail, log a traceback, and leave
    the caller waiting.
    """
    await context.send_initial_metadata(())


async def gone() -> None:
    """Lets gRPC cancel the call of a client that went away.

    It ends such a call's requests like those of any other, fails to send to
    it, and cancels it a moment later.
    """
    await asyncio.sleep(_MOMENT_S)
