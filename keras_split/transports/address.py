"""Where a server is, as a user writes it; and where its clients are."""

import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote


@dataclass(frozen=True)
class Address:
    """Where a server is: `scheme://target`.

    The scheme chooses the transport, which knows what a target is: a host and
    a port, a path, a name.

    Attributes:
        scheme: Such as `"grpc"`.
        target: What is behind `://`.

    Example:
    >>> address = Address.parse("grpcs://[::1]:50051")
    >>> address.scheme, address.host, address.port, str(address)
    ('grpcs', '::1', 50051, 'grpcs://[::1]:50051')
    """

    scheme: str
    target: str

    @classmethod
    def parse(cls, text: Any, scheme: str = "") -> "Address":
        """Takes an address apart.

        Args:
            text: `"scheme://target"`.
            scheme: That of an address which names none; by default it has to.

        Raises:
            ValueError: If it is not of that form.
        """
        named, separator, target = str(text).partition("://")
        made = cls(named, target) if separator else cls(scheme, named)
        if not made.scheme or not made.target:
            raise ValueError(
                f"Expected an address {_EXAMPLES}. Received: {text!r}."
            )
        return made

    @property
    def host(self) -> str:
        """The name or number of a machine; empty if the target has no port."""
        return split(self.target)[0] if self._has_port else ""

    @property
    def port(self) -> int:
        """The port on it; 0 if the target has none."""
        return split(self.target)[1] if self._has_port else 0

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there stays on this machine, as it seems."""
        return is_loopback(self.host)

    def check_port(self) -> "Address":
        """Returns itself if it is `scheme://host:port`.

        Raises:
            ValueError: If not.
        """
        if self._has_port:
            return self
        raise ValueError(
            f"Expected an address {_EXAMPLES}. Received: {str(self)!r}."
        )

    @property
    def _has_port(self) -> bool:
        host, _, port = self.target.rpartition(":")
        return host != "" and port.isdecimal()

    def __str__(self) -> str:
        return f"{self.scheme}://{self.target}"


_EXAMPLES = (
    "such as 'grpc://127.0.0.1:50051' or, for TLS, 'grpcs://10.0.0.2:50051'"
)


def split(target: str) -> tuple[str, int]:
    """Host and port of `"host:port"`.

    Example:
    >>> split("[::1]:50051")
    ('::1', 50051)
    """
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


def join(host: str, port: int) -> str:
    """`"host:port"`, the inverse of `split`.

    Example:
    >>> join("::1", 50051), join("[::1]", 50051), join("localhost", 1)
    ('[::1]:50051', '[::1]:50051', 'localhost:1')
    """
    host = host.strip("[]")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether what is sent to a host stays on this machine.

    Example:
    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("::1")
    (True, False, True)
    """
    host = host.strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def peer_host(peer: str) -> str:
    """The host of a peer, without the port, which changes with every call.

    Example:
    >>> peer_host("ipv4:10.0.0.2:40312"), peer_host("ipv6:%5B::1%5D:40312")
    ('10.0.0.2', '::1')
    """
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    return rest.rpartition(":")[0].strip("[]")
