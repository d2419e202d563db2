"""Options of `serve` beside the network: where, for whom, and what is seen."""

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import TypeVar

import click

from keras_split.protocol.status import ServerStatus
from keras_split.server.callbacks import ServerCallback
from keras_split.server.config import ServerConfig
from keras_split.server.operator_token import make as make_token
from keras_split.server.security import Security
from keras_split.transports.address import is_loopback
from keras_split_cli.amount import Amount
from keras_split_cli.cohort_options import cohort_options
from keras_split_cli.cohort_options import take_cohort
from keras_split_cli.console import note

_F = TypeVar("_F", bound=Callable[..., Any])
_FILE = click.Path(dir_okay=False)
_FOLDER = click.Path(file_okay=False)

_LISTENING = [
    click.option(
        "--host",
        default=ServerConfig.address,
        show_default=True,
        help="Address to listen on. Others than loopback need TLS.",
    ),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=ServerConfig.port,
        show_default=True,
        help="Port to listen on; 0 for any free one.",
    ),
    click.option(
        "--tls-cert", type=_FILE, help="The server's certificate (PEM)."
    ),
    click.option("--tls-key", type=_FILE, help="Its private key (PEM)."),
    click.option(
        "--client-ca",
        type=_FILE,
        help="Ask phones for a certificate that this CA signed.",
    ),
    click.option(
        "--tokens",
        type=_FILE,
        help="Ask phones for a token of this file, with a line NAME TOKEN "
        "for each.",
    ),
    click.option(
        "--operator-token",
        type=_FILE,
        help="Show what goes on here, in status and on the dashboard, only to "
        "who has the token in this file, and ask it for invitations; made if "
        "it is not there.",
    ),
    click.option(
        "--insecure",
        is_flag=True,
        help="Listen beyond this machine without TLS.",
    ),
]
_PURPOSE = [
    click.option(
        "--inference-only",
        is_flag=True,
        help="Let phones evaluate and predict, and train nothing: no "
        "optimizer takes memory, and the body stays as it is.",
    ),
]
_BOUNDS = [
    click.option(
        "--max-sessions",
        type=click.IntRange(min=1),
        default=ServerConfig.max_sessions,
        show_default=True,
        help="Phones at the same time.",
    ),
    click.option(
        "--max-batch",
        type=click.IntRange(min=1),
        default=ServerConfig.max_batch,
        show_default=True,
        help="Largest batch that a phone may send.",
    ),
    click.option(
        "--max-unary-mib",
        type=Amount(min=0, min_open=True),
        metavar="MIB",
        default=ServerConfig.max_unary_bytes >> 20,
        show_default=True,
        help="Largest message in a call of its own, which is read before it "
        "is known who calls; streams have no need of it.",
    ),
    click.option(
        "--idle-timeout",
        type=Amount(min=0, min_open=True, endless=True),
        metavar="SECONDS",
        default=ServerConfig.idle_timeout_s,
        show_default=True,
        help="End sessions that were silent for so long.",
    ),
    click.option(
        "--max-grad-norm",
        type=Amount(min=0, min_open=True, endless=True),
        default=ServerConfig.max_grad_norm,
        show_default=True,
        help="Refuse gradients of the features with a larger norm.",
    ),
    click.option(
        "--max-smashed-norm",
        type=Amount(min=0, min_open=True, endless=True),
        default=ServerConfig.max_smashed_norm,
        show_default=True,
        help="Refuse smashed data with a larger norm.",
    ),
    click.option(
        "--clip-grad-norm",
        type=Amount(min=0, min_open=True, endless=True),
        help="Scale gradients of the features down to this norm.",
    ),
]
_BODIES = [
    click.option(
        "--bodies",
        type=click.Choice(["shared", "private"]),
        default="shared",
        show_default=True,
        help="One body that all phones train together, or a copy for each, "
        "which it trains as if alone.",
    ),
]
_KEEPING = [
    click.option(
        "--checkpoints",
        type=_FOLDER,
        metavar="FOLDER",
        help="Write body, optimizers and sessions to this folder, and go on "
        "from the last checkpoint there.",
    ),
    click.option(
        "--checkpoint-every",
        type=click.IntRange(min=1),
        metavar="STEPS",
        default=ServerConfig.checkpoint_every,
        show_default=True,
        help="Steps from one checkpoint to the next.",
    ),
    click.option(
        "--checkpoint-every-mib",
        type=Amount(min=0, min_open=True),
        metavar="MIB",
        default=ServerConfig.checkpoint_every_bytes >> 20,
        show_default=True,
        help="Or MiB that one phone sent meanwhile, whichever comes first: "
        "phones keep as much.",
    ),
    click.option(
        "--snapshots",
        type=_FOLDER,
        metavar="FOLDER",
        help="Folder for the copies of the body that checkpoints of phones "
        "refer to; by default inside --checkpoints, or gone when the server "
        "stops.",
    ),
]
_SEEING = [
    click.option(
        "--metrics-port",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        help="Answer Prometheus on this port of loopback.",
    ),
    click.option(
        "--audit-log",
        type=_FILE,
        metavar="FILE",
        help="Append who came, what they did and what was refused to this "
        "file, as JSON lines; never what they sent. With --replicas each "
        "has a file beside it.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="How the log on stderr is written.",
    ),
]


def server_options(function: _F) -> _F:
    """Adds them all."""
    for option in reversed(
        [
            *_LISTENING,
            *_PURPOSE,
            *_BODIES,
            *_BOUNDS,
            *_KEEPING,
            *_SEEING,
        ]
    ):
        function = option(function)
    return cohort_options(function)


def serving(options: dict[str, Any], *, web: bool = False) -> ServerConfig:
    """Takes what says how to serve out of a command's options.

    Args:
        options: Those of `server_options`.
        web: Whether browsers are served, too.
    """
    take = options.pop
    # Who opens a page knows nothing of tokens: a code gets one.
    asks = options["tokens"] is not None or not is_loopback(options["host"])
    return ServerConfig(
        address=take("host"),
        port=take("port"),
        insecure=take("insecure"),
        security=Security(
            take("tls_cert"),
            take("tls_key"),
            take("client_ca"),
            take("tokens"),
            _made(take("operator_token")),
            invites=web and asks,
        ),
        bodies=take("bodies"),
        cohort=take_cohort(options),
        inference_only=take("inference_only"),
        max_sessions=take("max_sessions"),
        max_batch=take("max_batch"),
        max_unary_bytes=max(1, int(take("max_unary_mib") * 2**20)),
        idle_timeout_s=take("idle_timeout"),
        max_grad_norm=take("max_grad_norm"),
        max_smashed_norm=take("max_smashed_norm"),
        clip_grad_norm=take("clip_grad_norm"),
        checkpoints=take("checkpoints"),
        checkpoint_every=take("checkpoint_every"),
        checkpoint_every_bytes=max(
            1, int(take("checkpoint_every_mib") * 2**20)
        ),
        snapshots=take("snapshots"),
    )


def _made(operator_token: str | None) -> str | None:
    """The file of the operator's token, which is there."""
    if operator_token is not None and make_token(operator_token):
        note(f"Wrote the operator's token to {operator_token}")
    return operator_token


@contextlib.contextmanager
def listening(
    metrics_port: int | None,
    audit_log: str | None,
    log_format: str,
    counted: Callable[[], ServerStatus] | None = None,
) -> Iterator[tuple[list[ServerCallback], int | None]]:
    """Logs, counts and audits; gives listeners and the metrics' port.

    Args:
        metrics_port: Where to answer Prometheus; None for nowhere.
        audit_log: A file; None for none.
        log_format: Of the log on stderr.
        counted: Tells Prometheus of a server that counts for itself.
    """
    from keras_split.server.observe import Audit
    from keras_split.server.observe import Log
    from keras_split.server.observe import Metrics
    from keras_split.server.observe import logs

    logs.configure(log_format)
    with contextlib.ExitStack() as stack:
        listeners: list[ServerCallback] = [Log()]
        port = None
        if audit_log is not None:
            listeners.append(stack.enter_context(Audit(audit_log)))
        if metrics_port is not None:
            metrics = Metrics(counted)
            listeners.append(metrics)
            port = stack.enter_context(metrics.serve(metrics_port)).port
        yield listeners, port
