"""`keras-split device`: the phone's side with LiteRT alone."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

import click
import numpy as np
from rich.progress import Progress

from keras_split.errors import DataError
from keras_split.utils.counted import counted
from keras_split_cli.connection import Connection
from keras_split_cli.connection import server_option
from keras_split_cli.console import progress
from keras_split_cli.console import quietly
from keras_split_cli.console import size
from keras_split_cli.console import tell
from keras_split_cli.data import Pair
from keras_split_cli.data import data_options
from keras_split_cli.data import read_data
from keras_split_cli.device_scoring import evaluate
from keras_split_cli.device_scoring import predict
from keras_split_cli.image_data import AS_THEY_ARE
from keras_split_cli.image_data import names_of_all
from keras_split_cli.image_data import numbering

if TYPE_CHECKING:
    from keras_split.device import Client
    from keras_split.device.arrays import Batches

_F = TypeVar("_F", bound=Callable[..., Any])
_STEP = ("head_forward", "tail_step", "head_backward", "server")


@click.group()
def device() -> None:
    """Train with LiteRT alone, where TensorFlow cannot be installed.

    For a Raspberry Pi, or Android under Termux or Chaquopy. What is needed
    is keras_split with the package ai-edge-litert beside it, and the two
    files that keras-split export (or client.export) wrote elsewhere.

    \b
    keras-split serve server.keras --host 0.0.0.0 --checkpoints state/ \\
        --tls-cert server.pem --tls-key server-key.pem
    keras-split device train client.tflite --server 10.0.0.2:50051 \\
        --tls-ca ca.pem --data photos/ --epochs 5 --state state.npz
    """  # noqa: D301 (\b is click's, for lines as they are)


def _options(function: _F) -> _F:
    """Adds the file, the server and the data."""
    for option in reversed(
        [
            click.argument("source", metavar="CLIENT.TFLITE"),
            server_option(required=True),
            data_options,
            click.option(
                "--seed",
                type=click.IntRange(min=0),
                default=0,
                show_default=True,
                help="Decides the order of the images, and which are held "
                "back.",
            ),
            click.option(
                "--images",
                type=click.IntRange(min=1),
                help="Use the first so many images only.",
            ),
            click.option(
                "--threads",
                type=click.IntRange(min=1),
                help="Threads of one operation; LiteRT's choice by default.",
            ),
        ]
    ):
        function = option(function)
    return function


@device.command(short_help="Train the phone's half.")
@_options
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How many; when --state is there, how many more.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    help="The one the model was exported with by default.",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False),
    help="Go on from this .npz file if it is there, and write it after each "
    "epoch.",
)
def train(
    source: str,
    server: str,
    data: str,
    validation_split: float,
    class_names: tuple[str, ...],
    seed: int,
    images: int | None,
    threads: int | None,
    epochs: int,
    learning_rate: float | None,
    state: str | None,
    **connection: Any,
) -> None:
    """Train the phone's half of CLIENT.TFLITE; the server trains the body.

    Images and labels stay here. client.json lies beside the .tflite and says
    the batch size, the optimizer and how images are scaled.

    \b
    keras-split device train client.tflite --server 10.0.0.2:50051 \\
        --data photos/ --epochs 5 --state state.npz

    Called again with the same --state it goes on where it stopped. For that
    the server keeps a copy of its half; start it with --checkpoints FOLDER so
    that the copy outlives it. A lost connection, or a server that is started
    again, is waited for.
    """  # noqa: D301 (\b is click's, for lines as they are)
    from keras_split.device.averages import line

    client = _open(source, Connection.take(server, connection), threads)
    pairs = _read(client, data, validation_split, seed, images, class_names)
    if not client.description.data_spec.matrix:
        tell(AS_THEY_ARE)
    try:
        batches = _batches(client, pairs[0], seed)
        held_back = _batches(client, pairs[1], None) if pairs[1] else None
        if state is not None and Path(state).exists():
            client.load_state(state)
            tell(f"Going on from {state}, step {client.step}")
        # So that a training in two parts sees what one in one part sees.
        done = batches.epoch = client.step // len(batches)
        account = _Account(client)
        for epoch in range(done, done + epochs):
            with account, _Bar(f"Epoch {epoch + 1}", len(batches)) as advance:
                history = client.fit(
                    batches,
                    learning_rate=learning_rate,
                    on_batch=advance,
                    verbose=False,
                )
            logs = {name: values[-1] for name, values in history.items()}
            if held_back is not None:
                with _Bar("Validation", len(held_back)) as advance:
                    scores = client.evaluate(_counted(held_back, advance))
                logs |= {f"val_{name}": v for name, v in scores.items()}
            tell(f"Epoch {epoch + 1}/{done + epochs}: {line(logs)}")
            if state is not None:
                client.save_state(state)
        account.print(batches.examples * epochs)
        if state is not None:
            tell(f"Saved the phone's half to {state}")
    finally:
        client.close()


device.add_command(evaluate)
device.add_command(predict)


class _Account:
    """Adds up time and bytes of the training alone, while it is entered."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._uplink = self._downlink = self._calls = 0
        self._seconds = dict.fromkeys(_STEP, 0.0)

    def __enter__(self) -> None:
        self._add(-1)

    def __exit__(self, *_: object) -> None:
        self._add(1)

    def _add(self, sign: int) -> None:
        self._uplink += sign * self._client.uplink_bytes
        self._downlink += sign * self._client.downlink_bytes
        laps = self._client.laps
        for name in set(_STEP) & set(laps):
            self._seconds[name] += sign * laps[name].seconds
        if "head_forward" in laps:
            self._calls += sign * laps["head_forward"].calls

    def print(self, images: int) -> None:
        """Prints what a step and an image cost.

        Args:
            images: That were trained on.
        """
        from keras_split.device.memory import peak_bytes

        each = {n: s * 1000 / self._calls for n, s in self._seconds.items()}
        parts = ", ".join(f"{n} {ms:.1f}" for n, ms in each.items())
        tell(
            f"A step of {counted(self._client.batch_size, 'image')} took "
            f"{sum(each.values()):.1f} ms on average: {parts} (with the "
            "network)\n"
            f"An image took {size(self._uplink / images)} up and "
            f"{size(self._downlink / images)} down"
        )
        peak = peak_bytes()
        if peak:
            tell(f"Peak memory {size(peak)}")


class _Bar:
    """A progress bar for a loop, which passes a listener on."""

    def __init__(self, text: str, total: int) -> None:
        self._bar = Progress(
            console=progress,
            transient=True,
            disable=not progress.is_terminal,
        )
        self._text = text
        self._task = self._bar.add_task(text, total=total)

    def __enter__(self) -> Callable[..., None]:
        self._bar.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _advance(self, number: int, logs: Any = None) -> None:
        text = self._text
        if logs:
            text = f"{text}, loss {logs['loss']:.4f}"
        self._bar.update(self._task, description=text, completed=number + 1)


def _counted(batches: "Batches", advance: Callable[..., None]) -> Any:
    for number, batch in enumerate(batches):
        yield batch
        advance(number)


def _open(source: str, connection: Connection, threads: int | None) -> "Client":
    from keras_split.device import Client

    assert connection.address is not None
    with quietly():  # LiteRT tells of its delegate, which the first run makes
        client = Client(
            source,
            connection.address,
            num_threads=threads,
            credentials=connection.credentials,
            retry=connection.retry,
        )
        client.get_state()
    inputs = client.description.inputs
    if len(inputs) != 1 or len(inputs[0].shape) != 3:
        raise DataError(
            "Expected a model that takes one image. Received: inputs "
            f"{[(i.name, i.shape) for i in inputs]} in {source!r}. Use "
            "keras_split.device.Client from Python."
        )
    if len(client.description.outputs) != 1:
        raise DataError(
            "Expected a model with one output. Received: "
            f"{[o.name for o in client.description.outputs]} in {source!r}. "
            "Use keras_split.device.Client from Python."
        )
    return client


def _read(
    client: "Client",
    data: str,
    split: float,
    seed: int,
    images: int | None,
    class_names: tuple[str, ...],
) -> tuple[Pair, Pair | None]:
    """Images as they come, labels as the loss wants them."""
    shape = client.description.inputs[0].shape
    names = numbering(client.class_names, class_names)
    found = read_data(data, shape, split, seed, names)
    train, held_back = (
        None if pair is None else (pair[0][:images], pair[1][:images])
        for pair in found[:2]
    )
    assert train is not None
    pairs = [pair for pair in (train, held_back) if pair is not None]
    output = client.description.outputs[0]
    if output.label is not None and output.accuracy:
        classes = max(output.shape[-1], 2)
        client.class_names = names_of_all(data, found, classes)
        if output.loss == "categorical_crossentropy":
            rows = np.eye(classes, dtype=np.float32)
            pairs = [(x, rows[y]) for x, y in pairs]
    return pairs[0], pairs[1] if held_back is not None else None


def _batches(client: "Client", pair: Pair, seed: int | None) -> "Batches":
    from keras_split.device import batches

    return batches(*pair, client.batch_size, seed, preprocess=client.preprocess)
