"""`keras-split serve`: the server's side."""

import signal
import threading
from typing import TYPE_CHECKING
from typing import Any

import click

from keras_split import zoo
from keras_split.errors import DataError
from keras_split.server import ServerConfig
from keras_split.server.cohorts import who_sees_what
from keras_split.utils import malloc
from keras_split_cli import cohort_options
from keras_split_cli import output_file
from keras_split_cli.amount import Amount
from keras_split_cli.console import load_keras
from keras_split_cli.console import size
from keras_split_cli.console import tell
from keras_split_cli.console import working
from keras_split_cli.imports import import_option
from keras_split_cli.options import SERVER
from keras_split_cli.options import TEXTS
from keras_split_cli.options import Network
from keras_split_cli.options import check_source
from keras_split_cli.options import load_half
from keras_split_cli.options import network_options
from keras_split_cli.options import text_options
from keras_split_cli.replicas import NAMES as REPLICAS
from keras_split_cli.replicas import Replicas
from keras_split_cli.replicas import replicas_options
from keras_split_cli.sections import SectionedCommand
from keras_split_cli.server_options import listening
from keras_split_cli.server_options import server_options
from keras_split_cli.server_options import serving
from keras_split_cli.web import Web
from keras_split_cli.web import web_options

if TYPE_CHECKING:
    from keras_split.ray import ReplicatedServer
    from keras_split.server.grpc.server import Server

_GRACE_S = 30.0  # for steps in flight; a phone may be slow
_LOOK_EVERY_S = 0.5


_SECTIONS = {
    "What matters first": (
        *("port", "save", "checkpoints", "classes", "input_size", "cut"),
    ),
    "What it trains": (
        *("bodies", "optimizer", "learning_rate", "inference_only", "modules"),
    ),
    "Where it listens, and for whom": (
        *("host", "tls_cert", "tls_key", "client_ca", "tokens"),
        *("operator_token", "insecure"),
    ),
    "Browsers": ("web_port", "web_client", "web_name"),
    "Many phones, one model": cohort_options.NAMES,
    "Several processes": REPLICAS,
    "What it keeps": (
        *("checkpoint_every", "checkpoint_every_mib", "snapshots"),
    ),
    "The network of a preset, as the phone has it": (
        *("weights", "seed", "quantization"),
        *("codec", "bottleneck", "batchnorm_momentum", "fused_batchnorm"),
        *TEXTS,
    ),
    "What it tells": ("metrics_port", "audit_log", "log_format"),
    "What it bears": (
        *("max_sessions", "max_batch", "max_unary_mib", "idle_timeout"),
        *("max_grad_norm", "max_smashed_norm", "clip_grad_norm"),
    ),
}


@click.command(cls=SectionedCommand, sections=_SECTIONS)
@click.argument("source", metavar="PRESET|SERVER.KERAS")
@network_options
@text_options
@import_option
@server_options
@web_options
@replicas_options
@click.option(
    "--optimizer",
    help="Update the body with this optimizer of Keras (sgd, adam, ...) "
    "instead of the one each client asks for.",
)
@click.option(
    "--learning-rate",
    type=Amount(min=0),
    metavar="RATE",
    help="Update the body at this rate, whatever rate phones train at; with "
    "--optimizer.",
)
@click.option(
    "--save",
    type=click.Path(dir_okay=False),
    help="Write the trained body to this .keras file when the server stops.",
)
def serve(
    source: str,
    optimizer: str | None,
    learning_rate: float | None,
    save: str | None,
    metrics_port: int | None,
    audit_log: str | None,
    log_format: str,
    **options: Any,
) -> None:
    """Serve the body of a network to phones.

    Takes a preset of the zoo, or a server.keras that was saved with
    server.save. Phone and server must name the same preset, cut, input size
    and classes; the server refuses a phone that does not fit.

    \b
    keras-split serve mobilenet_v2 --input-size 96 --classes 2 \\
        --batchnorm-momentum 0.9 --save trained.keras
    keras-split serve server.keras --checkpoints state/ --save trained.keras

    With --checkpoints it goes on where it was, whatever stopped it, and
    phones that were training go on with it. Without --checkpoints and --save
    what the body has learned is gone when the server stops.

    With --cohort many phones train one model, each with its own data:

    \b
    keras-split serve server.keras --cohort merged --phones 3

    Beyond this machine it listens with TLS only, unless --insecure is said:

    \b
    keras-split certs --host server.example --token phone
    keras-split serve server.keras --host 0.0.0.0 --checkpoints state/ \\
        --tls-cert certs/server.pem --tls-key certs/server-key.pem \\
        --tokens certs/tokens.txt

    With --replicas several processes share the phones, on this machine or
    on a cluster of Ray:

    \b
    keras-split serve server.keras --bodies private --replicas 4 --ray auto
    keras-split serve server.keras --cohort merged --phones 16 --replicas 4

    With --web phones need a browser and nothing else:

    \b
    keras-split serve mobilenet_v2 --input-size 96 --web 8443 \\
        --host 0.0.0.0 --tls-cert certs/server.pem \\
        --tls-key certs/server-key.pem

    Ctrl-C or SIGTERM stops it: steps in flight are finished and a last
    checkpoint is written. Certificates and tokens are read again when their
    files change, and on SIGHUP.
    """  # noqa: D301 (\b is click's, for lines as they are)
    if learning_rate is not None and optimizer is None:
        raise click.UsageError(
            "Expected --optimizer with --learning-rate: without one of the "
            "server's own, each phone's is used. Received: --learning-rate "
            f"{learning_rate:g} alone. Add --optimizer sgd, say."
        )
    if save is not None and not save.endswith(".keras"):
        raise DataError(
            f"Expected a file name that ends in .keras. Received: {save!r}."
        )
    if save is not None and options["bodies"] == "private":
        raise DataError(
            "Expected one body for --save. Received: --bodies private, where "
            "each phone trains a copy, and the body that is served stays as "
            "it is. Leave --save out; phones have snapshots, and "
            "--checkpoints keeps all bodies."
        )
    if options["inference_only"]:
        _check_nothing_trains(optimizer, save)
    output_file.check_folder(save, "--save")
    if hasattr(signal, "SIGHUP"):  # it would end us while the model loads
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    malloc.keep()
    replicas = Replicas.take(
        options, save=save, audit_log=audit_log, log_format=log_format
    )
    counted, sends_on = None, False
    if replicas is not None and not replicas.shares:
        counted, audit_log = replicas.status, None  # it has one for each
        sends_on = True
    web = Web.take(source, options, trains=not sends_on)
    config = serving(options, web=web is not None and web.trains)
    if replicas is not None:
        replicas.check(config)
    check_source(source, SERVER)
    if source in zoo.names():
        Network(source, **options).check()
    with listening(metrics_port, audit_log, log_format, counted) as (
        listeners,
        metrics,
    ):
        with working(f"Loading {source}"):
            load_keras()
            if web is None:
                model = load_half(source, options, SERVER)
            else:
                model = web.load(options)
            if optimizer is not None:
                _compile(model, optimizer, learning_rate)
            if config.inference_only:
                model.optimizer = None  # its slots are of no use here
            server: Any
            if replicas is None:
                server = model.serve(config, listeners=listeners)
            else:
                server = replicas.serve(model, config, listeners)
            if web is not None:
                web.start(server)
        contract = model.contract
        tell(
            f"Serving {source} on {server.target}\n"
            f"cut at {', '.join(contract.cut)}; {contract.quantization} on "
            f"the link; fingerprint {contract.fingerprint[:12]}",
        )
        if replicas is not None:
            replicas.show(server)
        if config.cohort is not None:
            tell(who_sees_what.notice(config.cohort))
        if config.inference_only:
            tell("It only predicts: nothing is trained.")
        elif contract.labels_on_server:
            tell("This model is cut once: labels travel to the server.")
        if _forgets(config, save):
            tell(
                "What the body learns is gone when this stops: --save FILE or "
                "--checkpoints FOLDER keeps it."
            )
        for spec in contract.shared:
            tell(
                f"Phones send it the model input {spec.name} as it is, "
                f"{size(spec.bytes_per_example)} an example."
            )
        if metrics is not None:
            tell(f"Metrics: http://127.0.0.1:{metrics}/metrics")
        if web is not None:
            web.show()
        _wait(server, web)
        server.stop(_GRACE_S)
    if save is not None:
        with output_file.draft(save) as draft:
            model.save(draft)
        tell(f"Saved the body to {save}")


def _forgets(config: ServerConfig, save: str | None) -> bool:
    """Whether a body that all phones train is written nowhere."""
    if config.inference_only or config.kind_of_bodies == "private":
        return False
    return save is None and config.checkpoints is None


def _compile(model: Any, name: str, learning_rate: float | None) -> None:
    import keras

    try:
        optimizer = keras.optimizers.get(name)
    except ValueError as error:
        raise click.BadParameter(
            f"Expected an optimizer of Keras. Received: {name!r}.",
            param_hint="'--optimizer'",
        ) from error
    if learning_rate is not None:
        optimizer.learning_rate = learning_rate
    model.compile(optimizer, own_learning_rate=learning_rate is not None)


def _wait(server: "Server | ReplicatedServer", web: Web | None) -> None:
    """Until somebody stops it; meanwhile SIGHUP has it read files again."""
    stopped, hung_up = threading.Event(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    if hasattr(signal, "SIGHUP"):  # Windows has none
        signal.signal(signal.SIGHUP, lambda *_: hung_up.set())
    # Another thread may be given the signal; this one, in which Python
    # runs its handler, would then sleep on.
    while not stopped.wait(_LOOK_EVERY_S):
        if hung_up.is_set():
            hung_up.clear()
            server.reload()
            if web is not None:
                web.reload()
        if web is not None:
            web.look()


def _check_nothing_trains(optimizer: str | None, save: str | None) -> None:
    for option, value in (("--optimizer", optimizer), ("--save", save)):
        if value is not None:
            raise DataError(
                "Expected a body that is not trained, with --inference-only. "
                f"Received: {option} {value}. Leave one of the two out."
            )
