"""Why a server cannot be reached: asks its port without gRPC.

gRPC says of every connection that does not come about that it did not.
"""

import ipaddress
import os
import socket
import ssl

from keras_split.protocol.credentials import Credentials
from keras_split.transports import address

_TIMEOUT_S = 2.0
# Which gRPC looks at, in its order; it knows no names in capitals.
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXIES = ("no_grpc_proxy", "no_proxy")
_USE_TLS = (
    "a server that speaks TLS. Write grpcs:// instead of grpc://, and give "
    "the certificate of its CA (--tls-ca)."
)
_USE_NO_TLS = (
    "a server that does not speak TLS. Start it with --tls-cert and "
    "--tls-key, or write grpc:// instead of grpcs:// if all who could listen "
    "may read along."
)
_USE_CERTIFICATE = (
    "a server that does not let this client in without a certificate that it "
    "trusts. Give one that the server's CA has signed (--tls-cert and "
    "--tls-key)."
)


def proxy_problem(target: str) -> str | None:
    """Which proxy is asked to connect, as the end of a sentence.

    gRPC asks the one that the environment names, for this machine as well,
    and says nothing of it.

    Returns:
        Where it went and what to do; None if it calls the server itself.
    """
    named = ((name, os.environ.get(name)) for name in _PROXIES)
    variable, proxy = next((pair for pair in named if pair[1]), ("", ""))
    host, _ = address.split(target)
    if not proxy or _goes_directly(host):
        return None
    where = proxy.rpartition("@")[2]  # before it may be a password
    return (
        f" through the proxy {where!r}, which {variable} in the environment "
        f"names. Set no_proxy={host} if the server is to be called directly; "
        "else see that it runs, and that the proxy lets one connect to it."
    )


def _goes_directly(host: str) -> bool:
    """Whether the environment takes a host out of what the proxy does."""
    listed = next(filter(None, map(os.environ.get, _NO_PROXIES)), "")
    for entry in (word.strip() for word in listed.split(",")):
        if entry and host.lower().endswith(entry.lower()):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, False):
                return True
        except ValueError:  # names
            continue
    return False


def tls_problem(
    target: str, secure: bool, credentials: Credentials
) -> str | None:
    """What is wrong with TLS between here and there, in the words of errors.

    Returns:
        What was received and what to do; None if nothing listens there, or
        TLS is not what is wrong.
    """
    try:
        host, port = address.split(target)
        plain = socket.create_connection((host, port), _TIMEOUT_S)
    except (OSError, ValueError):
        return None
    with plain:
        plain.settimeout(_TIMEOUT_S)
        try:
            answered = _shake_hands(plain, host, secure, credentials)
        except ssl.SSLCertVerificationError as error:
            return (
                "a certificate that cannot be trusted "
                f"({error.verify_message}). Give the certificate of the "
                "server's CA (--tls-ca), and call the server by a name that "
                "is in its certificate."
            )
        except ssl.SSLEOFError:  # it was going away
            return None
        except ssl.SSLError as error:
            if "ALERT" in str(error.reason):
                return _USE_CERTIFICATE if secure else _USE_TLS
            return _USE_NO_TLS if secure else None
        except OSError:  # it said neither yes nor no
            return None
    if not secure:
        return _USE_TLS
    return None if answered else _USE_CERTIFICATE


def _shake_hands(
    plain: socket.socket, host: str, secure: bool, credentials: Credentials
) -> bool:
    """A handshake as the client would make it; without `secure`, any.

    Returns:
        Whether the server went on with its own first bytes of HTTP/2. With
        TLS 1.3 it looks at the client's certificate when the client believes
        that all is done, and may hang up without a word.
    """
    context = ssl.create_default_context(cafile=credentials.ca_file)
    context.set_alpn_protocols(["h2"])
    if secure:
        if credentials.cert_file is not None:
            context.load_cert_chain(credentials.cert_file, credentials.key_file)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    name = credentials.server_name or host
    with context.wrap_socket(plain, server_hostname=name) as channel:
        try:
            return channel.recv(1) != b""
        except TimeoutError:
            return True
        except OSError:
            return False
