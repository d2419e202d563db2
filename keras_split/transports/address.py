"""Addresses as gRPC writes them."""

import ipaddress
from urllib.parse import unquote


def split(target: str) -> tuple[str, int]:
    """Host and port of `"host:port"`.

    Example:
    >>> split("[::1]:50051")
    ('::1', 50051)
    """
    host, _, port = target.rpartition(":")
    return host.strip("[]"), int(port)


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
