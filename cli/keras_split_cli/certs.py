"""`keras-split certs`: certificates and tokens to try things out with."""

import ipaddress
import os
import re
import secrets
import shutil
from pathlib import Path

import click
from click.core import ParameterSource
from rich.table import Table

from keras_split.errors import DataError
from keras_split.server.tokens import Tokens
from keras_split.transports.address import join
from keras_split_cli.authority import hosts_of
from keras_split_cli.authority import issue
from keras_split_cli.authority import make_authority
from keras_split_cli.authority import pem
from keras_split_cli.authority import read_authority
from keras_split_cli.authority import read_certificate
from keras_split_cli.console import out
from keras_split_cli.console import tell

_TOKENS = "tokens.txt"
_CN = 64  # bytes of a common name, at most (RFC 5280)
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_DAYS = click.option(
    "--days",
    type=click.IntRange(1, 36_500),
    default=365,
    show_default=True,
    help="How long the certificates are valid.",
)
_NAME = click.argument("name")
_OUT = click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False),
    help="Folder with the files; certs by default.",
)


@click.group(invoke_without_command=True, subcommand_metavar="[COMMAND]")
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
@_DAYS
@click.option("--force", is_flag=True, help="Write over files that are there.")
@click.option(
    "--renew",
    is_flag=True,
    help="Make the server's certificate anew, with the CA in the folder, and "
    "leave all else as it is. A server that runs takes it by itself.",
)
@click.pass_context
def certs(
    context: click.Context,
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
    keras-split certs add bob
    keras-split certs --host 10.0.0.2 --renew
    """  # noqa: D301 (\b is click's, for lines as they are)
    if context.invoked_subcommand is not None:
        _check_alone(context)
        return
    for name in (*clients, *tokens):
        _check_name(name)
    for host in hosts:
        _check_host(host)
    root = Path(folder)
    if renew:
        _renew(root, hosts, days)
        return
    authority = make_authority(days)
    files: dict[str, bytes] = pem("ca", authority)
    files |= pem("server", issue(authority, hosts[0][:_CN], days, hosts))
    for name in clients:
        files |= pem(f"client-{name}", issue(authority, name, days))
    drawn = {name: _draw() for name in tokens}
    for name, token in drawn.items():
        files[f"token-{name}.txt"] = f"{token}\n".encode()
    if drawn:
        lines = [f"{name} {token}\n" for name, token in drawn.items()]
        files[_TOKENS] = "".join(lines).encode()
    _write(root, files, force)
    tell(_usage(root, hosts[0], clients, tokens))


@certs.command()
@_NAME
@_OUT
@click.option(
    "--only",
    type=click.Choice(["certificate", "token"]),
    help="Not both, but this alone.",
)
@_DAYS
def add(name: str, folder: str | None, only: str | None, days: int) -> None:
    """Let one more client in, with the CA and the tokens that are there.

    NAME gets a certificate and a token; the files of others stay as they are.
    A server that runs knows the new token within a second.

    \b
    keras-split certs add bob
    """  # noqa: D301 (\b is click's, for lines as they are)
    _check_name(name)
    root = _folder(folder)
    kinds = ("certificate", "token") if only is None else (only,)
    taken = [kind for kind in kinds if kind in _has(root, name)]
    if taken:
        raise DataError(
            f"Expected the name of a new client. Received: {name!r}, who has "
            f"a {' and a '.join(taken)} in {root}. Choose another name, or "
            f"first: keras-split certs remove {name}"
        )
    # The CA in any case: this is no folder of certs without it.
    authority = read_authority(root)
    files: dict[str, bytes] = {}
    if "certificate" in kinds:
        files |= pem(f"client-{name}", issue(authority, name, days))
    token = _draw()
    if "token" in kinds:
        files[f"token-{name}.txt"] = f"{token}\n".encode()
    _write(root, files, force=False)
    if "token" in kinds:
        _set_tokens(root, [*_token_lines(root), f"{name} {token}"])
    server = read_certificate(root / "server.pem")
    hosts = hosts_of(server) if server is not None else []
    tell(
        f"Added {name}. Give {name} these files, and no other:\n"
        + "".join(f"  {root / file}\n" for file in ["ca.pem", *files])
        + "\n"
        + _client_lines(
            root,
            hosts[0] if hosts else "HOST",
            name if "certificate" in kinds else None,
            name if "token" in kinds else None,
        )
    )


@certs.command("list")
@_OUT
def show(folder: str | None) -> None:
    """List who has what, and until when it is valid."""
    root = _folder(folder)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("name", "certificate", "token"):
        table.add_column(title)
    for name in ("ca", "server"):
        table.add_row(name, _until(root / f"{name}.pem"), "", style="dim")
    for name in _clients(root):
        table.add_row(
            name,
            _until(root / f"client-{name}.pem"),
            "yes" if "token" in _has(root, name) else "-",
        )
    out.print(table)


@certs.command()
@_NAME
@_OUT
def remove(name: str, folder: str | None) -> None:
    """Take a client's token back, and drop its files here.

    A server that runs refuses the token within a second. A certificate cannot
    be taken back: it is good until it expires, wherever no token is asked
    for.
    """
    _check_name(name)
    root = _folder(folder)
    if not _has(root, name):
        raise DataError(
            f"Expected one of {', '.join(_clients(root)) or 'no client'}, who "
            f"are in {root}. Received: {name!r}. Look: keras-split certs list"
        )
    lines = [x for x in _token_lines(root) if x.split()[:1] != [name]]
    if "token" in _has(root, name):
        if not _named(lines):
            raise DataError(
                f"Expected another client in {root / _TOKENS}. Received: "
                f"{name!r} alone, and a server that runs would keep its old "
                "list rather than take an empty one. Add another client "
                "first, or stop the server and delete the file."
            )
        _set_tokens(root, lines)
    certificate = root / f"client-{name}.pem"
    until = _until(certificate)
    had = certificate.exists()
    for file in (certificate.name, f"client-{name}-key.pem"):
        (root / file).unlink(missing_ok=True)
    (root / f"token-{name}.txt").unlink(missing_ok=True)
    text = f"Removed {name}."
    if had:
        text += (
            f" The certificate of {name} is good {until}, for a server with "
            "--client-ca and without --tokens."
        )
    tell(text)


def _check_alone(context: click.Context) -> None:
    """Refuses options that the command behind them would not look at."""
    for option in context.command.params:
        source = context.get_parameter_source(str(option.name))
        if option.name != "folder" and source is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"Expected {option.opts[0]} with keras-split certs alone. "
                f"Received: {option.opts[0]} and the command "
                f"{context.invoked_subcommand}. Call one after the other."
            )


def _folder(given: str | None) -> Path:
    """That of the command, or of `certs --out` before it."""
    parent = click.get_current_context().parent
    assert parent is not None
    root = Path(given or parent.params["folder"])
    if not (root / "ca.pem").exists():
        raise DataError(
            f"Expected the files of keras-split certs in {root}. Received: no "
            "ca.pem there. Name their folder with --out, or make them: "
            "keras-split certs"
        )
    return root


def _draw() -> str:
    return secrets.token_urlsafe(32)


def _token_lines(root: Path) -> list[str]:
    """The lines of the file with tokens, comments and all; it may be none.

    Raises:
        DataError: If a server could not read it.
    """
    path = root / _TOKENS
    if not path.exists():
        return []
    Tokens.read(path)
    return path.read_text("utf-8").splitlines()


def _named(lines: list[str]) -> list[str]:
    words = [line.split() for line in lines]
    return [w[0] for w in words if w and not w[0].startswith("#")]


def _set_tokens(root: Path, lines: list[str]) -> None:
    """Writes the file with tokens at once, with owner and mode as before."""
    path = root / _TOKENS
    draft = f"{_TOKENS}.{secrets.token_hex(4)}.partial"
    _write(root, {draft: "".join(f"{x}\n" for x in lines).encode()}, False)
    if path.exists():
        about = path.stat()
        shutil.copymode(path, root / draft)
        if hasattr(os, "chown") and os.geteuid() == 0:
            os.chown(root / draft, about.st_uid, about.st_gid)
    os.replace(root / draft, path)


def _has(root: Path, name: str) -> list[str]:
    """What a client has: `"certificate"`, `"token"`."""
    files = (f"client-{name}.pem", f"client-{name}-key.pem")
    found = []
    if any((root / file).exists() for file in files):
        found.append("certificate")
    token = (root / f"token-{name}.txt").exists()
    if token or name in _named(_token_lines(root)):
        found.append("token")
    return found


def _clients(root: Path) -> list[str]:
    stems = [path.stem for path in root.glob("client-*.pem")]
    names = {s.removeprefix("client-") for s in stems if s[-4:] != "-key"}
    return sorted(names | set(_named(_token_lines(root))))


def _until(path: Path) -> str:
    """Until when a certificate is valid; `"-"` if there is none."""
    certificate = read_certificate(path)
    if certificate is None:
        return "-"
    return f"until {certificate.not_valid_after_utc:%Y-%m-%d}"


def _renew(root: Path, hosts: tuple[str, ...], days: int) -> None:
    """Writes another certificate of the server over the one that is there."""
    authority = read_authority(root)
    files = pem("server", issue(authority, hosts[0][:_CN], days, hosts))
    for name in ("server-key.pem", "server.pem"):
        draft = f"{name}.{secrets.token_hex(4)}.partial"
        _write(root, {draft: files[name]}, force=False)
        if name == "server.pem":
            (root / draft).chmod(0o644)
        os.replace(root / draft, root / name)
    tell(f"Renewed {root / 'server.pem'}.")


def _write(root: Path, files: dict[str, bytes], force: bool) -> None:
    there = [name for name in files if (root / name).exists()]
    if there and not force:
        raise DataError(
            f"Expected a folder without such files. Received: {root}, where "
            f"{', '.join(there)} would be written over. Choose another --out, "
            "or say --force."
        )
    root.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    drafts: list[tuple[Path, Path]] = []
    try:
        for name, content in files.items():
            public = name.endswith(".pem") and not name.endswith("-key.pem")
            mode = 0o644 if public else 0o600
            path = root / name
            if os.path.lexists(path):  # it stays until all are written
                path = root / f"{name}.{secrets.token_hex(4)}.partial"
                drafts.append((path, root / name))
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(os.open(path, flags, mode), "wb") as file:
                written.append(path)
                file.write(content)
        for draft, path in drafts:
            os.replace(draft, path)
    except OSError:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _check_name(name: str) -> None:
    letters = all(c.isalnum() or c in "._-" for c in name)
    fits = 0 < len(name.encode("utf-8", "replace")) <= _CN
    if not fits or not letters or name.endswith("-key"):
        raise DataError(
            "Expected a name of letters, digits, dots, dashes and "
            f"underscores, {_CN} at most, without -key at its end. Received: "
            f"{name!r}. It "
            "becomes part of a file's name."
        )


def _check_host(host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if len(host) > 253 or not _HOST.fullmatch(host):
            raise DataError(
                "Expected --host as clients call the server: a name of ASCII "
                f"letters, or an IP address, without a port. Received: "
                f"{host!r}. One in another script has an ASCII form, xn--..."
            ) from None


def _usage(
    root: Path,
    host: str,
    clients: tuple[str, ...],
    tokens: tuple[str, ...],
) -> str:
    """The lines that use what was written."""
    serve = [f"--tls-cert {root / 'server.pem'}"]
    serve.append(f"--tls-key {root / 'server-key.pem'}")
    if clients:
        serve.append(f"--client-ca {root / 'ca.pem'}")
    if tokens:
        serve.append(f"--tokens {root / _TOKENS}")
    gap = " \\\n    "
    client = _client_lines(
        root,
        host,
        clients[0] if clients else None,
        tokens[0] if tokens else None,
    )
    return (
        f"Wrote {root}. The key of the CA, ca-key.pem, makes more of them: "
        "keep it to yourself.\n\n"
        f"The server\n  keras-split serve PRESET --host {host}{gap}"
        f"{gap.join(serve)}\n\nA client\n{client}"
    )


def _client_lines(
    root: Path, host: str, certificate: str | None, token: str | None
) -> str:
    """The command of a client with these names of its files."""
    train = [f"--tls-ca {root / 'ca.pem'}"]
    if certificate is not None:
        stem = root / f"client-{certificate}"
        train.append(f"--tls-cert {stem}.pem --tls-key {stem}-key.pem")
    if token is not None:
        train.append(f"--token-file {root / f'token-{token}.txt'}")
    gap = " \\\n    "
    return (
        "  keras-split train PRESET --data FOLDER "
        f"--server grpcs://{join(host, 50051)}{gap}{gap.join(train)}"
    )
