"""A reply on its way, with the headers that every reply has."""

import json
from collections.abc import Iterable
from typing import Any

from keras_split.server.ending import Ending

Headers = Iterable[tuple[str, str]]
# Nothing is loaded from elsewhere, and nobody else may frame, embed or read.
# LiteRT.js compiles WebAssembly; shared memory wants the page isolated.
_ALWAYS = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "
        "style-src 'self'; img-src 'self' blob: data:; media-src 'self' "
        "blob:; font-src 'self'; connect-src 'self'; worker-src 'self'; "
        "manifest-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-resource-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    (
        "permissions-policy",
        "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    ),
)


class Reply:
    """Sends the reply to one request; an ASGI `send` with better manners.

    A body that is sent at once has its length in front. `send` comes back
    only when the client has taken it all, so that the clock of its call runs
    until then.

    Args:
        send: ASGI's.
        ending: Says when it is too late: nothing is sent from then on.

    Attributes:
        started: Whether its status is on the way.
    """

    def __init__(self, send: Any, ending: Ending) -> None:
        self._send = send
        self._ending = ending
        self._start: dict[str, Any] | None = None
        self.started = False

    async def __call__(self, message: Any) -> None:
        """ASGI's `send`, for applications."""
        if self._ending.ended:
            return
        if message["type"] == "http.response.start":
            self._start = message
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if (start := self._start) is not None:
            self._start, self.started = None, True
            await self._send(_finished(start, None if more else len(body)))
        if body:
            await self._send({**message, "more_body": True})
        if not more:
            # Waits until the body is gone; see Connection.
            await self._send({"type": "http.response.body"})

    async def whole(
        self, status: int, body: bytes, kind: str, headers: Headers = ()
    ) -> None:
        """Sends a body that is at hand.

        Args:
            status: Of HTTP.
            body: What is sent.
            kind: Its media type.
            headers: More headers.
        """
        await self.start(status, [("content-type", kind), *headers])
        await self({"type": "http.response.body", "body": body})

    async def last(self, status: int, body: bytes, kind: str) -> None:
        """Sends what there is to say when it is too late, and waits for none.

        Args:
            status: Of HTTP.
            body: What is sent, if nothing was yet.
            kind: Its media type.
        """
        if self.started:
            return
        self.started = True
        headers = [("content-type", kind), ("connection", "close")]
        await self._send(_finished(_start(status, headers), len(body)))
        await self._send({"type": "http.response.body", "body": body})

    async def json(self, config: Any) -> None:
        """Sends an object that nobody should keep."""
        await self.whole(
            200, json.dumps(config).encode(), "application/json", NOT_KEPT
        )

    async def start(self, status: int, headers: Headers) -> None:
        """Begins it; bodies follow as ASGI's messages."""
        await self(_start(status, headers))


NOT_KEPT = (("cache-control", "no-store"),)


def _start(status: int, headers: Headers) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(k.encode(), v.encode()) for k, v in headers],
    }


def _finished(start: dict[str, Any], length: int | None) -> dict[str, Any]:
    headers = list(start.get("headers", ()))
    there = {name.lower() for name, _ in headers}
    more = list(_ALWAYS)
    if length is not None and start["status"] not in (204, 304):
        more.append(("content-length", str(length)))
    if b"cache-control" not in there:
        more.extend(NOT_KEPT)
    headers += [
        (name.encode(), value.encode())
        for name, value in more
        if name.encode() not in there
    ]
    return {**start, "headers": headers}
