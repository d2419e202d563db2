"""Options of every command that calls a server, and what they mean."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace
from typing import Any
from typing import TypeVar

import click

from keras_split import transports
from keras_split.client.retry import Retry
from keras_split.protocol.credentials import Credentials
from keras_split.transports import Address
from keras_split.transports import Route
from keras_split_cli.amount import Amount

_F = TypeVar("_F", bound=Callable[..., Any])
_FILE = click.Path(dir_okay=False)
_PORT = 50051  # of serve, where none is named


@dataclass(frozen=True)
class Connection:
    """How a server is reached.

    Attributes:
        address: `"grpc://..."`, `"grpcs://..."` or another scheme that is
            registered; None for no server.
        credentials: What it is shown.
        retry: How long to try when it does not answer.
    """

    address: str | None
    credentials: Credentials
    retry: Retry

    @classmethod
    def take(
        cls,
        server: str | None,
        options: dict[str, Any],
        name: str = "--server",
    ) -> "Connection":
        """Takes the options out of a command's and looks at the address.

        Raises:
            click.BadParameter: If the address is none.
        """
        tls = options.pop("tls")
        credentials = Credentials(
            options.pop("tls_ca"),
            options.pop("tls_cert"),
            options.pop("tls_key"),
            options.pop("token_file"),
        )
        retry = Retry(give_up_s=options.pop("retry", Retry.give_up_s))
        if server is None:
            return cls(None, credentials, retry)
        try:
            address = Route.to(Address.parse(server, "grpc")).address
        except ValueError as error:
            raise click.BadParameter(
                _no_address(server), param_hint=repr(name)
            ) from error
        assert address is not None
        secure = tls or credentials.ca_file or credentials.cert_file
        if tls and address.scheme not in ("grpc", "grpcs"):
            raise click.BadParameter(
                f"Expected --tls with gRPC. Received: {str(address)!r}, whose "
                "transport sees to that itself. Leave --tls out.",
                param_hint=repr(name),
            )
        if secure and address.scheme == "grpc":
            address = replace(address, scheme="grpcs")
        return cls(str(address), credentials, retry)


def _no_address(text: str) -> str:
    """Says what is wrong with an address; most often it is the port."""
    expected = "Expected HOST:PORT, or grpcs://HOST:PORT for TLS"
    scheme, separator, target = text.rpartition("://")
    if (not separator or scheme in ("grpc", "grpcs")) and re.fullmatch(
        r"[\w.-]+|\[[\w:.]+\]", target
    ):
        return (
            f"{expected}. Received: {text!r}, without a port. Write "
            f"{text}:{_PORT}, if keras-split serve has the port that it takes "
            "by itself."
        )
    return (
        f"{expected}; the schemes here are {', '.join(transports.names())}. "
        f"Received: {text!r}."
    )


def server_option(
    required: bool, otherwise: str = "Without it the body is trained here."
) -> Callable[[_F], _F]:
    """Adds `--server` and how long to try to reach it."""

    def add(function: _F) -> _F:
        function = click.option(
            "--retry",
            type=Amount(min=0, endless=True),
            metavar="SECONDS",
            default=Retry.give_up_s,
            show_default=True,
            help="How long to try again when the server does not answer; it "
            "goes on with the step where it was.",
        )(tls_options(function))
        return click.option(
            "--server",
            required=required,
            metavar="HOST:PORT",
            help="Where keras-split serve runs."
            + ("" if required else f" {otherwise}"),
        )(function)

    return add


def tls_options(function: _F) -> _F:
    """Adds what a server that does not trust everyone is shown."""
    for option in reversed(
        [
            click.option("--tls", is_flag=True, help="The server speaks TLS."),
            click.option(
                "--tls-ca",
                type=_FILE,
                help="Certificates (PEM) of those who may vouch for the "
                "server; the usual authorities by default. Means --tls.",
            ),
            click.option(
                "--tls-cert",
                type=_FILE,
                help="A certificate (PEM) to show the server. Means --tls.",
            ),
            click.option(
                "--tls-key", type=_FILE, help="Its private key (PEM)."
            ),
            click.option(
                "--token-file",
                type=_FILE,
                help="File with a token to show the server.",
            ),
        ]
    ):
        function = option(function)
    return function
