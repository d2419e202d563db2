"""Who may talk to a server, and who may read along."""

import os
from dataclasses import dataclass
from dataclasses import fields
from typing import Any

import grpc

from keras_split.errors import DataError
from keras_split.protocol.credentials import check_pair
from keras_split.protocol.credentials import read_file
from keras_split.protocol.pem import check_files
from keras_split.server.callbacks import Caller
from keras_split.server.callbacks import ServerCallback
from keras_split.server.tokens import Tokens

_Path = str | os.PathLike[str]
_HEALTH = "/grpc.health.v1.Health/"
_BEARER = "Bearer "


@dataclass(frozen=True)
class Security:
    """Files that a server is protected with.

    Attributes:
        tls_cert: The server's certificate, with the chain below its CA.
        tls_key: Private key of that certificate.
        client_ca: Certificates of the authorities that vouch for clients;
            clients without such a certificate do not get a connection.
        tokens: File with the tokens of clients, see
            `keras_split.server.tokens.Tokens.read`.

    Raises:
        DataError: If a certificate is given without its key, or a client CA
            without TLS.
    """

    tls_cert: _Path | None = None
    tls_key: _Path | None = None
    client_ca: _Path | None = None
    tokens: _Path | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, os.fspath(value))
        check_pair(self.tls_cert, self.tls_key)
        if self.client_ca is not None and self.tls_cert is None:
            raise DataError(
                "Expected TLS, for clients show their certificates in its "
                f"handshake. Received: client_ca={self.client_ca!r} alone. "
                "Give --tls-cert and --tls-key, too."
            )

    def server_credentials(self) -> grpc.ServerCredentials | None:
        """What gRPC listens with; None for a port that is not encrypted.

        Raises:
            DataError: If a file cannot be read, is no certificate, or the
                key is not that of the certificate.
        """
        if self.tls_cert is None or self.tls_key is None:
            return None
        cert = read_file(self.tls_cert, "server's certificate")
        key = read_file(self.tls_key, "server's private key")
        ca = None
        if self.client_ca is not None:
            ca = read_file(self.client_ca, "clients' CA certificate")
        check_files(self.tls_cert, self.tls_key, self.client_ca)
        return grpc.ssl_server_credentials(
            [(key, cert)], ca, require_client_auth=ca is not None
        )

    def read_tokens(self) -> Tokens | None:
        """The clients that may come in; None if nobody is asked."""
        return None if self.tokens is None else Tokens.read(self.tokens)


class Authenticator(grpc.ServerInterceptor):
    """Knows who calls, and sends away who has no token.

    The health service answers everybody: those who watch over servers carry
    no tokens.

    Args:
        tokens: The clients that may come in; None to ask nobody.
        events: Hears of those who were sent away.
    """

    def __init__(self, tokens: Tokens | None, events: ServerCallback) -> None:
        self._tokens = tokens
        self._events = events

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """The method's handler, or one that refuses."""
        if (
            self._tokens is None
            or details.method.startswith(_HEALTH)
            or self._who(details.invocation_metadata) is not None
        ):
            return continuation(details)
        # Takes any kind of call, and does not wait for its first message.
        return grpc.stream_stream_rpc_method_handler(self._send_away)

    def caller(self, context: Any) -> Caller:
        """Who calls: by token, else by certificate, else nobody knows."""
        name = None
        if self._tokens is not None:
            name = self._who(context.invocation_metadata())
        else:
            names = context.auth_context().get("x509_common_name")
            if names:
                name = names[0].decode("utf-8", "replace")
        return Caller(name or "", context.peer())

    def _who(self, metadata: Any) -> str | None:
        assert self._tokens is not None
        for key, value in metadata:
            if key == "authorization" and value.startswith(_BEARER):
                return self._tokens.who(value.removeprefix(_BEARER))
        return None

    def _send_away(self, requests: Any, context: Any) -> None:
        self._events.refused("", Caller("", context.peer()), "unauthenticated")
        context.abort(
            grpc.StatusCode.UNAUTHENTICATED,
            "Expected a token that this server knows. Received: another, or "
            "none.",
        )
