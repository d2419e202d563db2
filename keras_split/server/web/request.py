"""A request of HTTP: what its head says, and its body when it is wanted."""

import json
from typing import Any

from keras_split.server.tokens import bearer
from keras_split.server.web.connection import CONNECTION
from keras_split.server.web.connection import Connection
from keras_split.server.web.refusals import HttpError
from keras_split.transports.address import is_loopback
from keras_split.transports.address import join

_WORDS_BYTES = 4 << 10  # of a body of a few words


class Request:
    """One request of HTTP.

    Args:
        scope: ASGI's.
        receive: ASGI's.

    Attributes:
        method: Such as `"GET"`.
        path: Without what follows a `?`.
        headers: By name in small letters; of several the last.
        receive: The same.
        scope: The same.
        connection: What it came over; None if nobody says.
    """

    def __init__(self, scope: Any, receive: Any) -> None:
        self.scope = scope
        self.receive = receive
        self.connection: Connection | None = scope.get(CONNECTION)
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers: dict[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }

    @property
    def token(self) -> str | None:
        """The token that it shows."""
        return bearer(self.headers.items())

    @property
    def peer(self) -> str:
        """Where it comes from, as an endpoint wants it."""
        host, port = self.scope["client"] or ("unknown", 0)
        return address(str(host), int(port))

    @property
    def certificate(self) -> str:
        """Name in the certificate with which TLS knows the client."""
        return "" if self.connection is None else self.connection.certificate

    @property
    def kind(self) -> str:
        """Media type of its body."""
        given = self.headers.get("content-type", "")
        return given.partition(";")[0].strip().lower()

    def takes(self, coding: str) -> bool:
        """Whether a body may be packed like that."""
        given = self.headers.get("accept-encoding", "")
        return any(
            entry.replace(" ", "") in (coding, f"{coding};q=1")
            for entry in given.lower().split(",")
        )

    @property
    def length(self) -> int:
        """Bytes of its body.

        Raises:
            HttpError: If it does not say.
        """
        given = self.headers.get("content-length", "")
        # Chunks beside a length would count, and may be any number.
        chunks = "transfer-encoding" in self.headers
        if chunks or not given.isdecimal():
            raise HttpError(
                411,
                "Expected the length of the message in Content-Length. "
                f"Received: {'chunks' if chunks else 'none'}. Send the body "
                "whole, not in chunks.",
            )
        return int(given)

    def check_method(self, *methods: str) -> None:
        """Refuses other methods.

        Raises:
            HttpError: With status 405.
        """
        if self.method not in methods:
            raise HttpError(
                405,
                f"Expected {' or '.join(methods)} of {self.path}. Received: "
                f"{self.method}.",
                allow=", ".join(methods),
            )

    def check_kind(self, kind: str) -> None:
        """Refuses bodies of another media type, or that are compressed.

        Raises:
            HttpError: With status 415.
        """
        coding = self.headers.get("content-encoding", "identity")
        if self.kind == kind and coding == "identity":
            return
        received = self.kind or "no content type"
        if coding != "identity":
            received += f", {coding}"
        raise HttpError(
            415,
            f"Expected a body of {kind}, as it is. Received: {received!r}.",
            accept_post=kind,
        )

    def check_origin(self, *, open_to_all: bool) -> None:
        """Refuses what other sites have a browser send.

        Args:
            open_to_all: Whether nobody is asked for a token. Then a site
                whose name its owner lets point to this machine must not be
                taken for the server's own page.

        Raises:
            HttpError: With status 403 or 421.
        """
        host = self.headers.get("host", "")
        if open_to_all and not _is_here(host, self.scope):
            raise HttpError(
                421,
                "Expected a request to this machine by its own name, such as "
                "localhost. Received: one by another name. Start the server "
                "with --tokens to be called by any.",
            )
        origin = self.headers.get("origin")
        if origin is None:
            return
        own = {f"https://{host}"}
        if self.scope["scheme"] == "http":  # or a proxy has TLS before it
            own.add(f"http://{host}")
        if not host or origin not in own:
            raise HttpError(
                403,
                "Expected a request of the server's own page. Received: one "
                "of another site. Open the address that the server prints.",
                "permission",
            )

    async def words(self) -> dict[str, Any]:
        """Its body: a small JSON object.

        Raises:
            HttpError: If it is something else, or large.
        """
        self.check_kind("application/json")
        if self.length > _WORDS_BYTES:
            raise HttpError(
                413,
                f"Expected at most {_WORDS_BYTES:,} bytes. Received: "
                f"{self.length:,}.",
                "size",
            )
        raw = b""
        while True:
            message = await self.receive()
            if message["type"] != "http.request":
                raise ConnectionError("the client went away")
            raw += message.get("body", b"")
            if not message.get("more_body", False):
                break
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise HttpError(
                400, "Expected a JSON object. Received: something else."
            )
        return found


def address(host: str, port: int) -> str:
    """A peer of HTTP, as gRPC would name it.

    Example:
    >>> address("10.0.0.2", 40312), address("::1", 40312)
    ('ipv4:10.0.0.2:40312', 'ipv6:[::1]:40312')
    """
    return f"ipv{6 if ':' in host else 4}:{join(host, port)}"


def _is_here(host: str, scope: Any) -> bool:
    """Whether a Host header names the machine that was connected to."""
    name = host.rpartition(":")[0] if host[-1:].isdecimal() else host
    name = name if name and not name.endswith(":") else host
    local = scope["server"][0] if scope["server"] else ""
    return is_loopback(name) or name.strip("[]") == local
