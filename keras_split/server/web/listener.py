"""Accepts connections: a place first, then TLS, then HTTP."""

import asyncio
import contextlib
import socket
import ssl
from functools import partial
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from keras_split.errors import TransportError
from keras_split.server.fresh_files import FreshFiles
from keras_split.server.guests import Guests
from keras_split.server.web.connection import IDLE_S
from keras_split.server.web.connection import Connection
from keras_split.server.web.request import address
from keras_split.transports.address import join

_HANDSHAKE_S = 10.0
_HEAD_BYTES = 16 << 10  # of a request
_PLACES = 256  # for connections that no call of a client is answered on
_BACKLOG = 128
_FULL_S = 0.1  # without a file descriptor left


def bind(address: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        TransportError: If the port cannot be had.
    """
    wanted = join(address, port)
    try:
        [found, *_] = socket.getaddrinfo(
            address.strip("[]"), port, type=socket.SOCK_STREAM
        )
        made = socket.create_server(found[4], family=found[0], backlog=_BACKLOG)
    except OSError as error:
        raise TransportError(
            f"Expected to listen on {wanted} for browsers. Received: "
            f"{error.strerror or error}. Choose another --web port, or stop "
            "the server that has it."
        ) from error
    made.setblocking(False)
    return made


class Listener:
    """Takes connections from a socket until it is stopped.

    uvicorn's own server starts no clock for handshakes and for heads of
    requests, and has no places; its protocol is what is used here.

    Args:
        listening: A socket that listens.
        app: An ASGI application.
        tls: What to speak TLS with; None for a port that is not encrypted.
    """

    def __init__(
        self,
        listening: socket.socket,
        app: Any,
        tls: FreshFiles[ssl.SSLContext] | None,
    ) -> None:
        self._socket = listening
        self._tls = tls
        self._places = Guests(_PLACES)
        self._config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=_HEAD_BYTES,
            timeout_keep_alive=int(2 * IDLE_S),  # Connection has its own
        )
        self._config.load()
        self._state = ServerState()
        self._handshakes: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Takes connections until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                taken, about = await loop.sock_accept(self._socket)
            except OSError:  # there are as many files open as can be
                await asyncio.sleep(_FULL_S)
                continue
            task = loop.create_task(self._connect(taken, about))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def stop(self, grace_s: float) -> None:
        """Closes what is idle, and the others when they have answered."""
        self._socket.close()
        for task in list(self._handshakes):
            task.cancel()
        for connection in list(self._state.connections):
            connection.shutdown()
        until = asyncio.get_running_loop().time() + grace_s
        while self._state.connections:
            if asyncio.get_running_loop().time() > until:
                break
            await asyncio.sleep(0.02)
        for connection in list(self._state.connections):
            connection.transport.abort()
        tasks = list(self._state.tasks)
        for answering in tasks:
            answering.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, taken: socket.socket, about: Any) -> None:
        """Makes a connection of a socket; it has a place from here on."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        peer = address(about[0], about[1])
        place = contextlib.ExitStack()
        owned: list[Connection] = []

        def made() -> Connection:
            owned.append(self._made(peer, place))
            return owned[0]

        def end() -> None:
            if owned and owned[0].is_made:
                owned[0].transport.abort()
            else:
                task.cancel()

        place.enter_context(
            self._places.take(peer, partial(loop.call_soon_threadsafe, end))
        )
        try:
            # A client without TLS, one that waits, or went away: none of it
            # is worth a line.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await loop.connect_accepted_socket(
                    made, taken, **self._encrypted()
                )
        finally:
            if not owned:  # else asyncio closes it; twice is once too many
                taken.close()
            if not (owned and owned[0].is_made):
                place.close()

    def _encrypted(self) -> dict[str, Any]:
        if self._tls is None:
            return {}
        return {
            "ssl": self._tls.value,
            "ssl_handshake_timeout": _HANDSHAKE_S,
        }

    def _made(self, peer: str, place: contextlib.ExitStack) -> Connection:
        return Connection(
            self._places,
            peer,
            place,
            config=self._config,
            server_state=self._state,
            app_state={},
        )
