"""Opens the client's end of a connection, encrypted or not."""

import queue
import time
from typing import Any

import grpc

from keras_split.errors import DataError
from keras_split.errors import ProtocolError
from keras_split.errors import RefusedError
from keras_split.errors import TransportError
from keras_split.protocol.credentials import Credentials
from keras_split.protocol.pem import check_files
from keras_split.protocol.reasons import METADATA_KEY
from keras_split.transports import address
from keras_split.transports.grpc.diagnosis import proxy_problem
from keras_split.transports.grpc.diagnosis import tls_problem
from keras_split.utils.plain import plain

OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Room for whole tensors in flight: an echo of 2.4 MB 10.2 -> 7.7 ms.
    ("grpc.http2.lookahead_bytes", 8 << 20),
    # A peer that vanished without a word is noticed within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
# What a status means where the server does not say it.
_REASONS = {
    grpc.StatusCode.UNAUTHENTICATED: "unauthenticated",
    grpc.StatusCode.PERMISSION_DENIED: "permission",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "busy",
}
LONGEST_S = 1e9  # a queue waits no longer, and not for infinity
_TOO_LONG = "message larger than max"  # gRPC's own RESOURCE_EXHAUSTED
_ADVICE = {
    "unauthenticated": "Ask the server's owner for a token, and give the file "
    "that holds it (--token-file).",
    "permission": "Only the client that opened a session can go on with it.",
    "busy": "Try again later, or have the server's limits raised.",
    "size": "Use a smaller batch, or raise the server's --max-batch.",
}


def open_channel(
    target: str,
    *,
    secure: bool = False,
    credentials: Credentials | None = None,
    timeout_s: float = 10.0,
) -> grpc.Channel:
    """Connects to a server and waits until it is there.

    Args:
        target: `"host:port"`.
        secure: Whether to speak TLS.
        credentials: Files for TLS, and the token, of which this function
            only knows that there is one; `metadata` sends it.
        timeout_s: How long the server is waited for. Wrong certificates are
            not waited for.

    Raises:
        DataError: If a file is missing, or a token would travel to another
            machine for everybody to read.
        TransportError: If there is no connection; it says why.
    """
    credentials = credentials or Credentials()
    if credentials.token_file and not secure:
        host, _ = address.split(target)
        if not address.is_loopback(host):
            raise DataError(
                f"Expected TLS on the way to {target}, for a token is sent "
                "there. Received: grpc://, which everybody between could "
                "read. Write grpcs:// and start the server with --tls-cert "
                "and --tls-key."
            )
    channel = _make(target, secure, credentials)
    states: queue.SimpleQueue[grpc.ChannelConnectivity] = queue.SimpleQueue()
    put = states.put
    channel.subscribe(put, try_to_connect=True)
    deadline = time.monotonic() + min(timeout_s, LONGEST_S)
    try:
        while True:
            left = max(deadline - time.monotonic(), 0)
            state = states.get(timeout=left)
            if state is grpc.ChannelConnectivity.READY:
                break
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                _complain(target, secure, credentials)
    except queue.Empty as error:
        channel.close()
        # A port that speaks another language may never have said so.
        _complain(target, secure, credentials)
        raise TransportError(
            f"Expected a keras_split server at {target}. Received: no "
            f"connection within {timeout_s:g} s"
            + (
                proxy_problem(target)
                or ". Start it with keras-split serve, and look at the host "
                "and the port."
            )
        ) from error
    except BaseException:
        channel.close()
        raise
    channel.unsubscribe(put)
    return channel


def metadata(credentials: Credentials | None) -> tuple[tuple[str, str], ...]:
    """What every call to a server carries: the client's token, if any."""
    token = credentials.token() if credentials is not None else None
    return (("authorization", f"Bearer {token}"),) if token else ()


def refusal(error: grpc.RpcError, target: str) -> ProtocolError | None:
    """The error for a call that the server did not take; None if it broke."""
    code, details = error.code(), error.details() or ""
    if code not in _REASONS:
        return None
    reason = "size" if _TOO_LONG in details else _REASONS[code]
    for key, value in error.trailing_metadata() or ():
        if key == METADATA_KEY and value in _ADVICE:
            reason = value
    return RefusedError(
        f"Expected {target} to take this client's call. Received: "
        f"{code.name} ({plain(details)}). {_ADVICE[reason]}",
        reason,
    )


def _make(target: str, secure: bool, credentials: Credentials) -> Any:
    if not secure:
        return grpc.insecure_channel(target, options=OPTIONS)
    ca = credentials.ca()
    cert, key = credentials.certificate() or (None, None)
    check_files(
        credentials.cert_file, credentials.key_file, credentials.ca_file
    )
    options: tuple[tuple[str, Any], ...] = OPTIONS
    if credentials.server_name:
        name = credentials.server_name
        options = (*options, ("grpc.ssl_target_name_override", name))
    return grpc.secure_channel(
        target,
        grpc.ssl_channel_credentials(ca, key, cert),
        options=options,
    )


def _complain(target: str, secure: bool, credentials: Credentials) -> None:
    problem = tls_problem(target, secure, credentials)
    if problem is not None:
        raise TransportError(
            f"Expected a keras_split server at {target}. Received: {problem}"
        )
