"""`keras-split serve`: the server's side."""

import logging
import signal
import threading
from typing import Any

import click

from keras_split import memory
from keras_split.errors import DataError
from keras_split_cli.console import load_keras
from keras_split_cli.console import out
from keras_split_cli.console import working
from keras_split_cli.options import SERVER
from keras_split_cli.options import load_half
from keras_split_cli.options import network_options


@click.command()
@click.argument("source", metavar="PRESET|SERVER.KERAS")
@network_options
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Nothing is encrypted yet: leave it at "
    "loopback, or put the port behind a tunnel.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=50051,
    show_default=True,
    help="Port to listen on; 0 for any free one.",
)
@click.option(
    "--optimizer",
    help="Update the body with this optimizer of Keras (sgd, adam, ...) "
    "instead of the one each client asks for.",
)
@click.option(
    "--max-sessions",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Phones at the same time.",
)
@click.option(
    "--max-batch",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="Largest batch that a phone may send.",
)
@click.option(
    "--snapshots",
    type=click.Path(file_okay=False),
    help="Folder for the copies of the body that checkpoints of phones refer "
    "to; without it they go when the server stops.",
)
@click.option(
    "--save",
    type=click.Path(dir_okay=False),
    help="Write the trained body to this .keras file when the server stops.",
)
def serve(
    source: str,
    host: str,
    port: int,
    optimizer: str | None,
    max_sessions: int,
    max_batch: int,
    snapshots: str | None,
    save: str | None,
    **network: Any,
) -> None:
    """Serve the body of a network to phones.

    Takes a preset of the zoo, or a server.keras that was saved with
    server.save. Phone and server must name the same preset, cut, input size,
    classes and seed; the server refuses a phone that does not fit.

    \b
    keras-split serve mobilenet_v2 --input-size 96 --seed 1
    keras-split serve server.keras --port 50052 --save trained.keras

    Stop it with Ctrl-C.
    """  # noqa: D301 (\b is click's, for lines as they are)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    if save is not None and not save.endswith(".keras"):
        raise DataError(
            f"Expected a file name that ends in .keras. Received: {save!r}."
        )
    memory.keep()
    with working(f"Loading {source}"):
        load_keras()
        model = load_half(source, network, SERVER)
        if optimizer is not None:
            model.compile(optimizer)
        server = model.serve(
            port,
            host,
            max_sessions=max_sessions,
            max_batch=max_batch,
            snapshots=snapshots,
        )
    contract = model.contract
    out.print(
        f"Serving {source} on {server.target}\n"
        f"cut at {', '.join(contract.cut)}; {contract.quantization} on the "
        f"link; fingerprint {contract.fingerprint[:12]}",
        soft_wrap=True,
    )
    if contract.labels_on_server:
        out.print("This model is cut once: labels travel to the server.")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
    server.stop()
    if save is not None:
        model.save(save)
        out.print(f"Saved the body to {save}")
