"""`keras-split serve --web`: what browsers need, and what is printed."""

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

import click

from keras_split import zoo
from keras_split.device.description import Description
from keras_split.errors import BackendError
from keras_split.errors import DataError
from keras_split.errors import OptionError
from keras_split.transports.address import is_loopback
from keras_split.utils.extras import install
from keras_split_cli.console import out
from keras_split_cli.console import quietly
from keras_split_cli.console import tell
from keras_split_cli.image_presets import image_preset
from keras_split_cli.options import SERVER
from keras_split_cli.options import Network
from keras_split_cli.options import load_half
from keras_split_cli.qr_code import qr_code

if TYPE_CHECKING:
    from keras_split.models import ClientModel
    from keras_split.models import ServerModel
    from keras_split.ray import DataParallelServer
    from keras_split.ray import ReplicatedServer
    from keras_split.server.grpc.server import Server
    from keras_split.server.web.files import ClientFiles
    from keras_split.server.web.server import WebServer

_LOSS = "sparse_categorical_crossentropy"
_F = TypeVar("_F", bound=Callable[..., Any])
_NO_PAGE = (
    "The page for browsers takes images alone; phones with LiteRT train it: "
    "keras-split export, and keras_split.device in Python"
)
_NEEDS = ("connectrpc", "h11", "segno", "uvicorn")
_ONLY_WITH = ("web_client", "web_name")

_OPTIONS = [
    click.option(
        "--web",
        "web_port",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        help="Let browsers be phones, on this port; 0 for any free one. "
        "Beyond this machine phones are asked for a token then, and join "
        "with a code. With --replicas that phones are sent to: the dashboard "
        "alone.",
    ),
    click.option(
        "--web-client",
        type=click.Path(dir_okay=False),
        metavar="CLIENT.TFLITE",
        help="The half that browsers train, with its .json beside it. Of a "
        "preset it is made at the start.",
    ),
    click.option(
        "--web-name",
        metavar="NAME",
        help="Name or address by which browsers reach this machine, if not "
        "that of --host.",
    ),
]


def web_options(function: _F) -> _F:
    """Adds the options of a port for browsers."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@dataclass
class Web:
    """The port for browsers of a command, from its options to its end.

    Attributes:
        source: What is served.
        port: Port to listen on.
        client: The .tflite of the phone's half; None to make it.
        name: By which phones reach this machine, if somebody said.
        trains: Whether browsers are phones; else they see the dashboard.
    """

    source: str
    port: int
    client: str | None
    name: str | None
    trains: bool = True
    _files: "ClientFiles | None" = field(default=None, init=False)
    _server: "WebServer | None" = field(default=None, init=False)
    _code: str = field(default="", init=False)

    @classmethod
    def take(
        cls, source: str, options: dict[str, Any], *, trains: bool = True
    ) -> "Web | None":
        """Takes it out of a command's options; None without --web.

        Args:
            source: What is served.
            options: Of the command.
            trains: Whether browsers can be phones there.

        Raises:
            BackendError: If what it needs is not installed.
            DataError: If the phone's half is not there, or not whole.
            OptionError: If they cannot, and what that wants is not so.
            UsageError: If nobody says which it is.
        """
        port = options.pop("web_port")
        given = {name: options.pop(name) for name in _ONLY_WITH}
        if port is None:
            for name, value in given.items():
                if value is not None:
                    option = "--" + name.replace("_", "-")
                    raise click.UsageError(
                        f"Expected --web PORT with {option}. Received: "
                        f"{option} alone. Add --web 8443, say."
                    )
            return None
        _check_installed()
        client = given["web_client"]
        if not trains:
            _check_dashboard(client, options)
        elif client is not None:
            Description.read(client)  # before Keras is loaded
        elif source not in zoo.names():
            raise click.UsageError(
                "Expected --web-client CLIENT.TFLITE with --web: the file of "
                "a body does not hold the phone's half. Received: "
                f"{source}. Write one with keras-split export client.keras "
                "-o halves/, or with client.export('client.tflite')."
            )
        else:
            image_preset(source, "serve --web", _NO_PAGE)
        return cls(
            source,
            port,
            client,
            given["web_name"],
            trains,
        )

    def load(self, network: dict[str, Any]) -> "ServerModel":
        """The body that is served; the phone's half is at hand then, too.

        Raises:
            DataError: If the two do not belong together.
            ExportError: If the phone's half cannot be exported.
        """
        from keras_split.server.web.files import ClientFiles

        model: ServerModel
        if self.trains and self.client is None:
            client, model = Network(self.source, **network).load()
            self._files = _exported(client)
            return model
        model = load_half(self.source, network, SERVER)
        if self.client is not None:
            path = Path(self.client)
            _check_fits(Description.read(path), model, path)
            self._files = ClientFiles.read(path)
        return model

    def start(
        self, server: "Server | ReplicatedServer | DataParallelServer"
    ) -> None:
        """Begins to answer beside a server."""
        from keras_split.server.web.server import WebServer

        try:
            self._server = WebServer(
                server.endpoint,
                self.port,
                client=self._files,
                name=self.name,
            ).start()
        except BaseException:
            server.stop(0.0)
            raise

    def show(self) -> None:
        """Prints where it is, and how one comes in."""
        web = self._server
        assert web is not None
        asks = web.endpoint.admission.asks
        if not web.has_page:
            from keras_split.server.web.files import NO_PAGE

            tell(f"In browsers: {web.address}, without a page. {NO_PAGE}")
        elif self.trains and not asks:
            tell(f"In browsers of this machine: {web.url()}")
        if self.trains:
            tell(
                "Browsers get their half from this server, which so knows the "
                "weights that it begins with."
            )
        operator = web.endpoint.config.security.operator_token
        if operator is not None:
            tell(
                f"Dashboard: {web.address}/dashboard, with the token in "
                f"{operator}"
            )
        elif not asks:
            tell(f"Dashboard: {web.address}/dashboard")
        elif not self.trains:
            tell(f"Dashboard: {web.address}/dashboard, with a phone's token")
        if asks and self.trains:
            self._invite()

    def look(self) -> None:
        """Prints another code, if the last one is good no more."""
        web = self._server
        if web is None or not self._code or web.invitations.is_open(self._code):
            return
        # One that nobody used is renewed where somebody may look at it.
        if out.is_terminal or web.invitations.was_used(self._code):
            self._invite()

    def reload(self) -> None:
        """Reads certificates again."""
        if self._server is not None:
            self._server.reload()

    def _invite(self) -> None:
        web = self._server
        assert web is not None
        self._code = web.invitations.make()
        url = web.url(self._code)
        minutes = round(web.invitations.seconds / 60)
        if out.is_terminal:
            out.print(qr_code(url))
        tell(f"One phone joins within {minutes} minutes: {url}")


def _check_installed() -> None:
    for name in _NEEDS:
        if importlib.util.find_spec(name) is None:
            raise BackendError(
                f"Expected the package {name}, for --web. Received: it is not "
                f"installed. Run: {install('web')}"
            )


def _check_dashboard(client: str | None, options: dict[str, Any]) -> None:
    """Whether there can be a dashboard, and no page for phones."""
    if client is not None:
        raise OptionError(
            "Expected no --web-client with --replicas to which phones are "
            "sent: browsers do not follow, and see the dashboard alone. "
            f"Received: {client}. Leave it out, or serve a merged cohort "
            "(--cohort merged)."
        )
    if (
        not is_loopback(options["host"])
        and options["tokens"] is None
        and options["operator_token"] is None
    ):
        raise OptionError(
            "Expected somebody who may see the dashboard: beyond this machine "
            "--web with --replicas wants --operator-token or --tokens. "
            f"Received: --host {options['host']} alone. Add --operator-token "
            "operator.txt, say."
        )


def _exported(client: "ClientModel") -> "ClientFiles":
    """The phone's half as files."""
    import keras

    from keras_split.server.web.files import ClientFiles

    with tempfile.TemporaryDirectory() as folder, quietly():
        path = Path(folder) / "client.tflite"
        client.export(
            path,
            optimizer=keras.optimizers.SGD(0.01, momentum=0.9),
            loss=_LOSS,
        )
        return ClientFiles.read(path)


def _check_fits(about: Description, model: "ServerModel", path: Path) -> None:
    """Refuses a half of another model, before phones would be refused."""
    ours, theirs = model.contract, about.contract
    if ours.fingerprint != theirs.fingerprint or ours.cut != theirs.cut:
        raise DataError(
            f"Expected --web-client of the model that is served, fingerprint "
            f"{ours.fingerprint[:12]}. Received: {path} of "
            f"{theirs.fingerprint[:12]}, cut at {', '.join(theirs.cut)}. "
            "Export the client that was compiled with this body."
        )
    if not about.trains:
        raise DataError(
            f"Expected --web-client that trains. Received: {path}, which only "
            "predicts. Export it with --mode train."
        )
