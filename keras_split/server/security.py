"""Who may talk to a server, and who may read along."""

import os
from dataclasses import dataclass
from dataclasses import fields
from typing import NamedTuple

from keras_split.errors import DataError
from keras_split.protocol.credentials import check_pair
from keras_split.protocol.credentials import read_file
from keras_split.protocol.pem import check_files

_Path = str | os.PathLike[str]


class Certificates(NamedTuple):
    """What the files of a server hold, as PEM.

    Attributes:
        cert: The server's certificate, with the chain below its CA.
        key: Its private key.
        client_ca: The authorities that vouch for clients; None if clients
            need no certificate.
    """

    cert: bytes
    key: bytes
    client_ca: bytes | None = None


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
        operator_token: File with the token of who runs the server. It alone
            shows what the server is doing then, and it trains nothing;
            without one every client may ask.
        invites: Whether the server gives a token to who shows a code of its
            own, as phones do that open its page. Everybody else is asked for
            a token then, too.

    Raises:
        DataError: If a certificate is given without its key, or a client CA
            without TLS.
    """

    tls_cert: _Path | None = None
    tls_key: _Path | None = None
    client_ca: _Path | None = None
    tokens: _Path | None = None
    operator_token: _Path | None = None
    invites: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and field.name != "invites":
                object.__setattr__(self, field.name, os.fspath(value))
        check_pair(self.tls_cert, self.tls_key)
        if self.client_ca is not None and self.tls_cert is None:
            raise DataError(
                "Expected TLS, for clients show their certificates in its "
                f"handshake. Received: client_ca={self.client_ca!r} alone. "
                "Give --tls-cert and --tls-key, too."
            )

    def read_certificates(self) -> Certificates | None:
        """What to speak TLS with; None for a port that is not encrypted.

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
        return Certificates(cert, key, ca)
