"""Listens with HTTP, for browsers, before an endpoint."""

import asyncio
import contextlib
import socket
import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from keras_split.server.endpoint import Endpoint
from keras_split.server.web import tls
from keras_split.server.web.app import App
from keras_split.server.web.files import PAGE
from keras_split.server.web.files import ClientFiles
from keras_split.server.web.files import Files
from keras_split.server.web.invitations import Invitations
from keras_split.server.web.listener import Listener
from keras_split.server.web.listener import bind
from keras_split.transports.address import join

_ANYWHERE = {"0.0.0.0": socket.AF_INET, "::": socket.AF_INET6}


class WebServer:
    """Listens with HTTP until it is stopped, beside a gRPC server.

    Both stand before one endpoint: sessions, tokens, limits and logs are the
    same, and a session goes on over either.

    Args:
        endpoint: Answers the calls. Its own server starts and closes it;
            this one stops then, too.
        port: Port to listen on; 0 for any free one.
        client: The phone's half, for those that open the page.
        name: Name or IP address by which phones reach this machine; by
            default that on which it listens, or, of one that listens
            everywhere, the one that it has in its network.
        page: Folder of the page.

    Attributes:
        endpoint: The same.
        port: The port that it listens on.
        invitations: Codes with which phones join.
        has_page: Whether the page was built.

    Raises:
        DataError: If a certificate is of no use.
        TransportError: If the port cannot be had, or others could read along
            there.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        port: int = 0,
        *,
        client: ClientFiles | None = None,
        name: str | None = None,
        page: Path = PAGE,
    ) -> None:
        config = replace(endpoint.config, port=port)
        config.read_certificates()  # refuses what others could read
        self._tls = tls.contexts(config.security)
        self.endpoint = endpoint
        self.invitations = Invitations()
        files = Files(page, client)
        self.has_page = files.has_page
        app = App(endpoint, files, self.invitations, self.url)
        listening = bind(config.address, port)
        self.port: int = listening.getsockname()[1]
        self._name = name or _reached_as(config.address)
        self._listener = Listener(listening, app, self._tls)
        self._stopping: Future[float] = Future()
        self._thread = threading.Thread(
            target=asyncio.run,
            args=(self._run(),),
            name="keras_split-web",
            daemon=True,
        )

    @property
    def address(self) -> str:
        """Where it is, as `"https://10.0.0.2:8443"`."""
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{join(self._name, self.port)}"

    def url(self, code: str = "") -> str:
        """What a phone opens, to join with a code or without one."""
        # Behind a # it stays in the browser, and out of logs of proxies.
        return f"{self.address}/" + (f"#join={code}" if code else "")

    def start(self) -> "WebServer":
        """Starts to answer; returns at once."""
        self._thread.start()
        self.endpoint.beside(self.stop)
        return self

    def reload(self) -> None:
        """Reads certificates again; those that change are noticed anyway."""
        if self._tls is not None:
            self._tls.reload(anyway=True)

    def stop(self, grace_s: float = 1.0) -> None:
        """Stops to answer; calls in flight get `grace_s` to end."""
        if not self._stopping.done():
            self._stopping.set_result(grace_s)
        if self._thread.ident is not None:
            self._thread.join(grace_s + 5.0)

    def __repr__(self) -> str:
        tokens = ", tokens" * self.endpoint.admission.asks
        return f"<WebServer {self.address}{tokens}>"

    def __enter__(self) -> "WebServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def _run(self) -> None:
        taking = asyncio.create_task(self._listener.run())
        grace_s = await asyncio.wrap_future(self._stopping)
        taking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await taking
        await self._listener.stop(grace_s)


def _reached_as(address: str) -> str:
    """How others reach a machine that listens on an address."""
    family = _ANYWHERE.get(address.strip("[]"))
    if family is None:
        return address
    # Nothing is sent: the system only says from where it would be.
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            far = "192.0.2.1" if family == socket.AF_INET else "2001:db8::1"
            probe.connect((far, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
