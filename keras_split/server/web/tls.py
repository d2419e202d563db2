"""TLS for the port for browsers, with the files of the other port."""

import ssl

from keras_split.errors import DataError
from keras_split.server.fresh_files import FreshFiles
from keras_split.server.security import Security


def contexts(security: Security) -> FreshFiles[ssl.SSLContext] | None:
    """What to speak TLS with, anew when its files change; None for none.

    Raises:
        DataError: If a file is of no use.
    """
    paths = [
        path
        for path in (security.tls_cert, security.tls_key, security.client_ca)
        if path is not None
    ]
    if security.tls_cert is None:
        return None
    return FreshFiles("certificates", paths, lambda: _context(security))


def _context(security: Security) -> ssl.SSLContext:
    security.read_certificates()  # says what is wrong with them, in words
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    assert security.tls_cert is not None
    try:
        context.load_cert_chain(security.tls_cert, security.tls_key)
        if security.client_ca is not None:
            context.load_verify_locations(security.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # changed between two looks
        raise DataError(
            f"Expected PEM files that belong together. Received: {error}. "
            "keras-split certs makes such files."
        ) from error
    return context
