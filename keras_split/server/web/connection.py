"""One connection of HTTP/1.1, with a clock and a place."""

import asyncio
import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from keras_split.server.guests import Guests

CONNECTION = "keras_split.connection"  # in a scope of ASGI
HEAD_S = 10.0  # for the first head of a request to be here
IDLE_S = 120.0  # between two requests; a phone computes meanwhile
LINGER_S = 10.0  # for a client to send to its end, and read the reply then


class Connection(H11Protocol):
    """uvicorn's, which alone would wait for ever for the head of a request.

    It has a place among those whom nobody has let in, but for the time in
    which a call of a client is answered. A body that is left when its reply
    has been sent, is thrown away for a while: were the connection closed at
    once, the client might not read why it was refused.

    Args:
        places: Where it has its place.
        peer: Where it comes from, as `Guests.take` wants it.
        place: The one that it has from the start.
        *args: As uvicorn's.
        **options: As uvicorn's.
    """

    def __init__(
        self,
        places: Guests,
        peer: str,
        place: contextlib.ExitStack,
        *args: Any,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._places = places
        self._peer = peer
        self._place = place
        self._timer: asyncio.TimerHandle | None = None
        self.app = partial(_with, self, self.app)

    @property
    def is_made(self) -> bool:
        """Whether it is open, or was."""
        return self.transport is not None

    @property
    def certificate(self) -> str:
        """Name in the client's certificate, which TLS verified; or empty."""
        found = self.transport.get_extra_info("peercert") or {}
        for entry in found.get("subject", ()):
            for name, value in entry:
                if name == "commonName":
                    return str(value)
        return ""

    @contextlib.contextmanager
    def let_in(self) -> Iterator[None]:
        """Gives up its place while a client's call is answered."""
        self._place.close()
        try:
            yield
        finally:
            if not self.transport.is_closing():
                self._take_place()

    def hang_up(self) -> None:
        """Closes it, though what it still has to say may be said."""
        self.transport.close()
        self.loop.call_later(LINGER_S, self.transport.abort)

    # -- asyncio's ------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Starts the clock."""
        super().connection_made(transport)
        # A reply has been sent when all of it has left: see Reply. Not 0: TLS
        # of asyncio would pause at 0 bytes, and nothing would let it go on.
        transport.set_write_buffer_limits(high=1)
        self._wait(HEAD_S)

    def data_received(self, data: bytes) -> None:
        """Reads on; stops the clock when the head of a request is here."""
        super().data_received(data)
        if self.transport.is_closing():
            self._wait(LINGER_S)
        elif not self._is_over:
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives up its place."""
        self._stop()
        self._place.close()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Starts the clock for the next request."""
        self._wait(IDLE_S if self._is_read else LINGER_S)
        super().on_response_complete()
        if not self._is_over:  # the next one was here already
            self._stop()

    # -- of its own -----------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _is_read(self) -> bool:
        """Whether the last request has come whole."""
        return self.cycle is None or self.conn.their_state is not h11.SEND_BODY

    def _take_place(self) -> None:
        end: Callable[[], object] = partial(
            self.loop.call_soon_threadsafe, self.transport.abort
        )
        self._place.enter_context(self._places.take(self._peer, end))

    def _wait(self, seconds: float) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _with(
    connection: Connection, app: Any, scope: Any, receive: Any, send: Any
) -> None:
    await app({**scope, CONNECTION: connection}, receive, send)
