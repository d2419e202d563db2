"""Files that are served: the page of the package, the phone's half."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keras_split.errors import DataError
from keras_split.server.web.refusals import HttpError
from keras_split.server.web.reply import Reply
from keras_split.server.web.request import Request

PAGE = Path(__file__).parent / "page"
NO_PAGE = (
    "Expected the page, which the wheel of keras_split has. Received: an "
    "installation from sources, where it was not built. Run `make web` there, "
    "which needs Node 20 or newer."
)
_TEXT = "; charset=utf-8"
_KINDS = {
    ".css": "text/css" + _TEXT,
    ".html": "text/html" + _TEXT,
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript" + _TEXT,
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript" + _TEXT,
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain" + _TEXT,
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_OTHER = "application/octet-stream"
_PIECE_BYTES = 256 << 10
_FOREVER = "public, max-age=31536000, immutable"  # names have a hash
_PACKED = ".gz"


@dataclass(frozen=True)
class Content:
    """What a path of HTTP has, at hand or in a file.

    Attributes:
        kind: Its media type.
        cache: What a browser may do with it.
        body: It, if it is at hand.
        path: Where it is, if not.
        packed: Where it is for browsers that take gzip, if anywhere.
        tag: Another one for other content.
    """

    kind: str
    cache: str
    body: bytes | None = None
    path: Path | None = None
    packed: Path | None = None
    tag: str = ""

    @classmethod
    def of(cls, body: bytes, kind: str) -> "Content":
        """Something at hand, which only who is let in may keep."""
        tag = hashlib.sha256(body).hexdigest()[:32]
        return cls(kind, "private, no-cache", body, tag=tag)

    @property
    def nbytes(self) -> int:
        """How long it is."""
        if self.body is not None:
            return len(self.body)
        assert self.path is not None
        return self.path.stat().st_size

    async def send(self, request: Request, reply: Reply) -> None:
        """Sends it, unless the browser has it."""
        headers = [
            ("content-type", self.kind),
            ("cache-control", self.cache),
            ("etag", f'"{self.tag}"'),
        ]
        if f'"{self.tag}"' in request.headers.get("if-none-match", ""):
            await reply.start(304, headers)
            await reply({"type": "http.response.body"})
        elif self.body is not None:
            await reply.start(200, headers)
            await reply({"type": "http.response.body", "body": self.body})
        else:
            path = self.path
            if self.packed is not None:
                headers.append(("vary", "accept-encoding"))
                if request.takes("gzip"):
                    path = self.packed
                    headers.append(("content-encoding", "gzip"))
            assert path is not None
            with path.open("rb") as file:
                length = path.stat().st_size
                headers.append(("content-length", str(length)))
                await reply.start(200, headers)
                while piece := file.read(_PIECE_BYTES):
                    await reply(
                        {
                            "type": "http.response.body",
                            "body": piece,
                            "more_body": True,
                        }
                    )
                await reply({"type": "http.response.body"})


class Files:
    """What `GET` finds: a fixed list of paths, made at the start.

    Args:
        folder: Of the page that was built; it may be missing.
        client: `client.tflite` and `client.json`; None if there are none.
    """

    def __init__(
        self,
        folder: Path = PAGE,
        client: "ClientFiles | None" = None,
    ) -> None:
        self._page = dict(_page(folder))
        self._client: Mapping[str, Content] = {}
        if client is not None:
            self._client = client.contents

    @property
    def has_page(self) -> bool:
        """Whether the page was built."""
        return "/" in self._page

    def is_private(self, path: str) -> bool:
        """Whether only who is let in may have it."""
        return path in ClientFiles.PATHS

    def find(self, path: str) -> Content:
        """What a path has.

        Raises:
            HttpError: If it has nothing.
        """
        found = self._client.get(path) or self._page.get(path)
        if found is not None:
            return found
        if path in ("/", "/dashboard") and not self.has_page:
            raise HttpError(404, NO_PAGE)
        raise HttpError(
            404,
            "Expected the path of a page or a file of this server. Received: "
            "another.",
        )


@dataclass(frozen=True)
class ClientFiles:
    """The phone's half of the model that is served.

    Attributes:
        tflite: Content of `client.tflite`.
        about: Content of `client.json`.
    """

    PATHS = ("/client.tflite", "/client.json")
    tflite: bytes
    about: bytes

    @classmethod
    def read(cls, path: Path) -> "ClientFiles":
        """Reads a .tflite and the .json beside it.

        Raises:
            DataError: If one of them cannot be read.
        """
        try:
            return cls(
                path.read_bytes(), path.with_suffix(".json").read_bytes()
            )
        except OSError as error:
            raise DataError(
                f"Expected {path} and the .json beside it. Received: "
                f"{error.strerror}. keras-split export writes the two."
            ) from error

    @property
    def contents(self) -> dict[str, Content]:
        """What each path has."""
        tflite, about = self.PATHS
        return {
            tflite: Content.of(self.tflite, _OTHER),
            about: Content.of(self.about, _KINDS[".json"]),
        }


def _page(folder: Path) -> list[tuple[str, Content]]:
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix == _PACKED:
            continue
        packed = path.with_name(path.name + _PACKED)
        name = path.relative_to(folder).as_posix()
        about = path.stat()
        hashed = name.startswith(("assets/", "wasm/"))
        content = Content(
            _KINDS.get(path.suffix, _OTHER),
            _FOREVER if hashed else "no-cache",
            path=path,
            packed=packed if packed.is_file() else None,
            tag=f"{about.st_mtime_ns:x}-{about.st_size:x}",
        )
        found.append((f"/{name}", content))
        if name == "index.html":
            found.append(("/", content))
        elif name.endswith(".html"):
            found.append((f"/{name.removesuffix('.html')}", content))
    return found
