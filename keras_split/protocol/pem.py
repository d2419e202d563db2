"""Whether files for TLS are what they should be."""

import os
import ssl

from keras_split.errors import DataError

_Path = str | os.PathLike[str] | None


def check_files(cert: _Path, key: _Path, ca: _Path) -> None:
    """Says what is wrong with files; gRPC only says that something is.

    Args:
        cert: A certificate, with the chain below its CA.
        key: Its private key.
        ca: Certificates of the authorities that vouch for the other side.

    Raises:
        DataError: If one cannot be read or is none, or the key is not that
            of the certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        if cert is not None:
            context.load_cert_chain(cert, key, password=_no_password)
        if ca is not None:
            context.load_verify_locations(ca)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        given = ", ".join(str(path) for path in (cert, key, ca) if path)
        raise DataError(
            "Expected PEM files: a certificate, its own private key without "
            "a password, the certificate of the other side's CA. Received: "
            f"{given} ({getattr(error, 'reason', None) or error}). "
            "keras-split certs makes such files."
        ) from error


def _no_password() -> str:
    raise ValueError("the key is encrypted")
