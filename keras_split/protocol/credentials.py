"""What a client shows a server, and asks of it: names of files, no secrets."""

import contextlib
import os
from collections.abc import Iterator
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import fields
from pathlib import Path
from typing import Any

from keras_split.errors import DataError

_Path = str | os.PathLike[str]
_LOADED = (
    "; a client that was loaded looks where the file was when it was saved, "
    "until client.compile is given a strategy with other credentials"
)
# The folder of the file that is being loaded.
_LOADING: ContextVar[str | None] = ContextVar("loading", default=None)


@dataclass(frozen=True)
class Credentials:
    """Files that a client connects with; `grpcs://` needs the first of them.

    Only the paths are kept, so that a config can be saved beside a model: the
    files are read when a connection is opened. They are kept whole, for a
    model that was saved may be loaded in another folder.

    Attributes:
        ca_file: Certificates of the authorities that may vouch for the
            server; the usual public ones if not given.
        cert_file: The client's own certificate, for servers that ask for it.
        key_file: Private key of that certificate.
        token_file: File with the client's token and nothing else.
        server_name: Name in the server's certificate, where it is not the
            one in the address.

    Raises:
        DataError: If there is a certificate without its key, or a key alone.

    Example:
    >>> Credentials("/certs/ca.pem").get_config()["ca_file"]
    '/certs/ca.pem'
    """

    ca_file: _Path | None = None
    cert_file: _Path | None = None
    key_file: _Path | None = None
    token_file: _Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        check_pair(self.cert_file, self.key_file)
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and field.name != "server_name":
                path = os.path.abspath(value)
                object.__setattr__(self, field.name, path)

    def ca(self) -> bytes | None:
        """The authorities' certificates; None for the public ones."""
        if self.ca_file is None:
            return None
        return read_file(self.ca_file, "CA certificate", _LOADED)

    def certificate(self) -> tuple[bytes, bytes] | None:
        """The client's certificate and its private key, if it has one."""
        if self.cert_file is None or self.key_file is None:
            return None
        return (
            read_file(self.cert_file, "client's certificate", _LOADED),
            read_file(self.key_file, "client's private key", _LOADED),
        )

    def token(self) -> str | None:
        """The client's token, if it has one.

        Raises:
            DataError: If the file cannot be read or holds no token. The text
                does not show what it holds instead.
        """
        if self.token_file is None:
            return None
        content = read_file(self.token_file, "token", _LOADED).strip()
        if not content or not all(0x21 <= byte <= 0x7E for byte in content):
            raise DataError(
                f"Expected one token in {self.token_file}. Received: "
                f"{'other text' if content else 'an empty file'}. Write the "
                "token alone into it, as the server's owner gave it to you."
            )
        return content.decode("ascii")

    def get_config(self) -> dict[str, Any]:
        """Plain values, from which `from_config` makes it again."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Credentials":
        """The inverse of `get_config`.

        A path that is not whole, as files of before have them, is one in the
        folder of the file that is being loaded, if there is such a file, and
        one in the current folder otherwise.
        """
        found = dict(config)
        folder = _LOADING.get()
        for name, value in config.items():
            if folder is not None and name.endswith("_file") and value:
                beside = os.path.join(folder, value)
                if not os.path.exists(value) and os.path.exists(beside):
                    found[name] = beside
        return cls(**found)


@contextlib.contextmanager
def loading_from(folder: _Path) -> Iterator[None]:
    """While a model is loaded that lies in a folder.

    Args:
        folder: Where paths that its config names may lead to files.
    """
    token = _LOADING.set(os.path.abspath(folder))
    try:
        yield
    finally:
        _LOADING.reset(token)


def check_pair(cert: _Path | None, key: _Path | None) -> None:
    """Checks that a certificate comes with its key.

    Raises:
        DataError: If one of them is missing.
    """
    if (cert is None) != (key is None):
        there, missing = ("certificate", "private key")[:: 1 if cert else -1]
        raise DataError(
            f"Expected a certificate and its private key. Received: the "
            f"{there} {cert or key} alone. Give the file with the {missing}, "
            "too."
        )


def read_file(path: _Path, what: str, advice: str = "") -> bytes:
    """The bytes of a small file.

    Args:
        path: Where it is.
        what: What it holds, in words.
        advice: What else there is to do if it cannot be read.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"Expected the {what} in the file {path}. Received: "
            f"{error.strerror}. Look at the path and at who may read it"
            f"{advice}."
        ) from error
