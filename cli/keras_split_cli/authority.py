"""A CA for development: certificates that it signs, as PEM."""

import datetime
import ipaddress
import os
from pathlib import Path
from typing import Any

from keras_split.errors import BackendError
from keras_split.errors import DataError
from keras_split.utils.extras import install

_DAY = datetime.timedelta(days=1)
_OTHERS = 0o077  # what a key lets nobody but its owner do
Pair = tuple[Any, Any]  # a certificate and its private key


def make_authority(days: int) -> Pair:
    """A CA's certificate, signed by itself, and its private key."""
    return _issue(None, "keras_split development CA", days, ())


def issue(
    authority: Pair, name: str, days: int, hosts: tuple[str, ...] = ()
) -> Pair:
    """A certificate that the CA signed, and its private key.

    Args:
        authority: What `make_authority` returned.
        name: Common name; that of a client is who the server says it is.
        days: How long it is valid.
        hosts: Names and IP addresses of a server; none for a client.
    """
    return _issue(authority, name, days, hosts)


def _issue(
    authority: Pair | None, name: str, days: int, hosts: tuple[str, ...]
) -> Pair:
    x509 = _x509()
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    parent, signer = authority or (None, key)
    now = datetime.datetime.now(datetime.UTC)
    is_authority = parent is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if parent is None else parent.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)  # clocks of phones are often behind
        .not_valid_after(now + days * _DAY)
        .add_extension(x509.BasicConstraints(is_authority, None), True)
        .add_extension(_key_usage(is_authority), True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                signer.public_key()
            ),
            False,
        )
    )
    if not is_authority:
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        if hosts:
            usage = ExtendedKeyUsageOID.SERVER_AUTH
            names = x509.SubjectAlternativeName([_general(h) for h in hosts])
            builder = builder.add_extension(names, False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
    return builder.sign(signer, hashes.SHA256()), key


def _key_usage(is_authority: bool) -> Any:
    return _x509().KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _general(host: str) -> Any:
    x509 = _x509()
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def pem(name: str, pair: Pair) -> dict[str, bytes]:
    """The two files of a certificate."""
    from cryptography.hazmat.primitives import serialization

    certificate, key = pair
    return {
        f"{name}.pem": certificate.public_bytes(serialization.Encoding.PEM),
        f"{name}-key.pem": key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    }


def read_authority(folder: Path) -> Pair:
    """The CA of a folder, from ca.pem and ca-key.pem.

    Raises:
        DataError: If one is missing or is none, the key is of another CA,
            others may read it, or the CA has expired.
    """
    x509 = _x509()
    from cryptography.hazmat.primitives import serialization

    key_file = folder / "ca-key.pem"
    try:
        mode = key_file.stat().st_mode
        certificate = x509.load_pem_x509_certificate(
            (folder / "ca.pem").read_bytes()
        )
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"Expected ca.pem and ca-key.pem of keras-split certs in {folder}. "
            f"Received: {error}. Name their folder with --out, or make a CA: "
            "keras-split certs without add and --renew."
        ) from error
    if os.name == "posix" and mode & _OTHERS:
        raise DataError(
            f"Expected a key of the CA that its owner alone may read, for it "
            f"makes clients. Received: mode {mode & 0o777:o} of {key_file}. "
            f"Run chmod 600 {key_file}; if others were on this machine, make "
            "a new CA."
        )
    if certificate.public_key() != key.public_key():
        raise DataError(
            f"Expected ca.pem and its own key in {folder}. Received: the key "
            "of another CA. Name the folder that has both with --out."
        )
    end = certificate.not_valid_after_utc
    if end < datetime.datetime.now(datetime.UTC):
        raise DataError(
            f"Expected a CA that is valid. Received: {folder / 'ca.pem'}, "
            f"until {end:%Y-%m-%d}. Make a new one with keras-split certs in "
            "another --out, and give its ca.pem to all clients."
        )
    return certificate, key


def read_certificate(path: Path) -> Any:
    """A certificate; None if the file is not there or is none."""
    try:
        return _x509().load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def hosts_of(certificate: Any) -> list[str]:
    """Names and IP addresses that a server's certificate is for."""
    x509 = _x509()
    try:
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]


def _x509() -> Any:
    try:
        from cryptography import x509
    except ImportError as error:
        raise BackendError(
            "Expected the package cryptography, which makes certificates. "
            f"Received: it is not installed. Run: {install('server')}"
        ) from error
    return x509
