"""`keras-split certs`: certificates and tokens to try things out with."""

import datetime
import ipaddress
import os
import secrets
from pathlib import Path
from typing import Any

import click

from keras_split.errors import BackendError
from keras_split.errors import DataError
from keras_split.transports.address import join
from keras_split.utils.extras import install
from keras_split_cli.console import out

_DAY = datetime.timedelta(days=1)
Pair = tuple[Any, Any]  # a certificate and its private key


@click.command()
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False),
    default="certs",
    show_default=True,
    help="Folder for the files.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    default=("localhost", "127.0.0.1"),
    show_default=True,
    help="Name or IP address that clients call the server by; again for more.",
)
@click.option(
    "--client",
    "clients",
    multiple=True,
    metavar="NAME",
    help="Make a certificate for a client of this name, too; again for more.",
)
@click.option(
    "--token",
    "tokens",
    multiple=True,
    metavar="NAME",
    help="Make a token for a client of this name; again for more.",
)
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=365,
    show_default=True,
    help="How long the certificates are valid.",
)
@click.option("--force", is_flag=True, help="Write over files that are there.")
@click.option(
    "--renew",
    is_flag=True,
    help="Make the server's certificate anew, with the CA in the folder, and "
    "leave all else as it is. A server that runs takes it by itself.",
)
def certs(
    folder: str,
    hosts: tuple[str, ...],
    clients: tuple[str, ...],
    tokens: tuple[str, ...],
    days: int,
    force: bool,
    renew: bool,
) -> None:
    """Make certificates and tokens for a server and its clients.

    The CA is one for development: its key lies beside the rest, and whoever
    has it can pose as the server. Give clients ca.pem and files of their own,
    never a key of others.

    \b
    keras-split certs --host 10.0.0.2 --client alice --token alice
    keras-split certs --host 10.0.0.2 --renew
    """  # noqa: D301 (\b is click's, for lines as they are)
    for name in (*clients, *tokens):
        _check_name(name)
    root = Path(folder)
    if renew:
        _renew(root, hosts, days)
        return
    authority = make_authority(days)
    files: dict[str, bytes] = _pem("ca", authority)
    files |= _pem("server", issue(authority, hosts[0], days, hosts))
    for name in clients:
        files |= _pem(f"client-{name}", issue(authority, name, days))
    drawn = {name: secrets.token_urlsafe(32) for name in tokens}
    for name, token in drawn.items():
        files[f"token-{name}.txt"] = f"{token}\n".encode()
    if drawn:
        lines = [f"{name} {token}\n" for name, token in drawn.items()]
        files["tokens.txt"] = "".join(lines).encode()
    _write(root, files, force)
    out.print(_usage(root, hosts[0], clients, tokens), soft_wrap=True)


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


def _pem(name: str, pair: Pair) -> dict[str, bytes]:
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


def _renew(root: Path, hosts: tuple[str, ...], days: int) -> None:
    """Writes another certificate of the server over the one that is there."""
    authority = _read_authority(root)
    files = _pem("server", issue(authority, hosts[0], days, hosts))
    for name in ("server-key.pem", "server.pem"):
        draft = f"{name}.{secrets.token_hex(4)}.partial"
        _write(root, {draft: files[name]}, force=False)
        if name == "server.pem":
            (root / draft).chmod(0o644)
        os.replace(root / draft, root / name)
    out.print(f"Renewed {root / 'server.pem'}.", soft_wrap=True)


def _read_authority(root: Path) -> Pair:
    x509 = _x509()
    from cryptography.hazmat.primitives import serialization

    try:
        return (
            x509.load_pem_x509_certificate((root / "ca.pem").read_bytes()),
            serialization.load_pem_private_key(
                (root / "ca-key.pem").read_bytes(), None
            ),
        )
    except (OSError, ValueError) as error:
        raise DataError(
            f"Expected ca.pem and ca-key.pem of keras-split certs in {root}. "
            f"Received: {error}. Name their folder with --out, or leave "
            "--renew out to make a CA."
        ) from error


def _write(root: Path, files: dict[str, bytes], force: bool) -> None:
    there = [name for name in files if (root / name).exists()]
    if there and not force:
        raise DataError(
            f"Expected a folder without such files. Received: {root}, where "
            f"{', '.join(there)} would be written over. Choose another --out, "
            "or say --force."
        )
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        public = name.endswith(".pem") and not name.endswith("-key.pem")
        mode = 0o644 if public else 0o600
        (root / name).unlink(missing_ok=True)  # its mode would stay
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with open(os.open(root / name, flags, mode), "wb") as file:
            file.write(content)


def _check_name(name: str) -> None:
    if not name or not all(c.isalnum() or c in "._-" for c in name):
        raise DataError(
            "Expected a name of letters, digits, dots, dashes and "
            f"underscores. Received: {name!r}. It becomes part of a file's "
            "name."
        )


def _usage(
    root: Path,
    host: str,
    clients: tuple[str, ...],
    tokens: tuple[str, ...],
) -> str:
    """The lines that use what was written."""
    serve = [f"--tls-cert {root / 'server.pem'}"]
    serve.append(f"--tls-key {root / 'server-key.pem'}")
    train = [f"--tls-ca {root / 'ca.pem'}"]
    if clients:
        stem = root / f"client-{clients[0]}"
        serve.append(f"--client-ca {root / 'ca.pem'}")
        train.append(f"--tls-cert {stem}.pem --tls-key {stem}-key.pem")
    if tokens:
        serve.append(f"--tokens {root / 'tokens.txt'}")
        train.append(f"--token-file {root / f'token-{tokens[0]}.txt'}")
    gap = " \\\n    "
    return (
        f"Wrote {root}. The key of the CA, ca-key.pem, makes more of them: "
        "keep it to yourself.\n\n"
        f"The server\n  keras-split serve PRESET --host {host}{gap}"
        f"{gap.join(serve)}\n\n"
        "A client\n  keras-split train PRESET --data FOLDER "
        f"--server grpcs://{join(host, 50051)}{gap}{gap.join(train)}"
    )


def _x509() -> Any:
    try:
        from cryptography import x509
    except ImportError as error:
        raise BackendError(
            "Expected the package cryptography, which makes certificates. "
            f"Received: it is not installed. Run: {install('server')}"
        ) from error
    return x509
