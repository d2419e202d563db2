"""`keras-split device`: the phone's side with LiteRT alone."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import TypeVar

import click
import numpy as np

from keras_split.errors import DataError
from keras_split_cli import output_file
from keras_split_cli.amount import Amount
from keras_split_cli.class_weights import sample_weights
from keras_split_cli.connection import Connection
from keras_split_cli.connection import server_option
from keras_split_cli.console import note
from keras_split_cli.console import quietly
from keras_split_cli.console import tell
from keras_split_cli.data import SAMPLES
from keras_split_cli.data import Data
from keras_split_cli.data import Pair
from keras_split_cli.data import data_options
from keras_split_cli.data import first
from keras_split_cli.device_fitting import DeviceFitting
from keras_split_cli.device_fitting import Stopping
from keras_split_cli.device_probe import probe
from keras_split_cli.device_scoring import evaluate
from keras_split_cli.device_scoring import predict
from keras_split_cli.federation_options import NAMES as FEDERATION
from keras_split_cli.federation_options import Federation
from keras_split_cli.federation_options import federation_options
from keras_split_cli.federation_options import no_early_stopping
from keras_split_cli.image_data import AS_THEY_ARE
from keras_split_cli.image_data import names_of_all
from keras_split_cli.image_data import numbering
from keras_split_cli.label_form import LabelForm
from keras_split_cli.own_numbers import own_numbers_told
from keras_split_cli.sections import CONNECTION
from keras_split_cli.sections import SectionedCommand
from keras_split_cli.training_options import forgets
from keras_split_cli.training_options import no_validation
from keras_split_cli.training_options import read_all
from keras_split_cli.training_options import training_options

if TYPE_CHECKING:
    from keras_split.device import Client
    from keras_split.device.arrays import Batches

_F = TypeVar("_F", bound=Callable[..., Any])
_SECTIONS = {
    "What matters first": (
        "server",
        "data",
        "epochs",
        "learning_rate",
        "state",
    ),
    "Data": (
        "validation_data",
        "validation_split",
        "class_weights",
        "class_names",
        "classes_from",
        "skip_unreadable",
        "stream",
        "images",
        "seed",
        "part",
        "only_classes",
    ),
    "Training": ("early_stopping", "detect_hijack", "threads"),
    "With other phones, for one model": FEDERATION,
    "Reaching the server": CONNECTION,
}


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


@device.command(
    short_help="Train the phone's half.",
    cls=SectionedCommand,
    sections=_SECTIONS,
)
@_options
@training_options
@federation_options
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How many; when --state is there, how many more.",
)
@click.option(
    "--learning-rate",
    type=Amount(min=0, min_open=True),
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
    validation_data: str | None,
    validation_split: float,
    class_names: tuple[str, ...],
    class_weights: Any,
    detect_hijack: bool,
    early_stopping: int | None,
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
    output_file.check_folder(state, "--state")
    reach = Connection.take(server, connection)
    federation = Federation.take(connection)
    if federation is not None and early_stopping is not None:
        raise no_early_stopping()
    client = _open(source, reach, threads)
    found = _read(
        client,
        data,
        validation_data,
        validation_split,
        seed,
        images,
        class_names,
    )
    if not client.description.data_spec.matrix:
        tell(AS_THEY_ARE)
    if early_stopping is not None and found.validation is None:
        raise no_validation()
    weights = None
    if class_weights is not None:
        names = found.class_names or tuple(client.class_names)
        weights = sample_weights(class_weights, found.train[1], names)
    with ExitStack() as stack:
        stack.callback(client.close)
        form = _form(client)
        stack.enter_context(
            own_numbers_told(
                client.description.inputs[0].shape,
                None if form is None else form.classes,
            )
        )
        batches = _batches(client, found.train, seed, weights)
        held_back = None
        if found.validation is not None:
            held_back = _batches(client, found.validation, None)
        if state is not None and Path(state).exists():
            # In a cohort the body is everybody's.
            client.load_state(state, body=federation is None)
            tell(f"Going on from {state}, step {client.step}")
        # So that a training in two parts sees what one in one part sees.
        done = batches.epoch = client.step // len(batches)
        if federation is not None:
            done = 0  # how many steps an epoch has is the server's affair
        stopping = None
        if early_stopping is not None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            stopping = Stopping(client, early_stopping, folder)
        own = data != SAMPLES and federation is None  # a cohort keeps its half
        if state is None and own:
            note(forgets("--state FILE"))
        fitting = DeviceFitting(
            client, batches, held_back, done, epochs, state, stopping
        )
        fitting.fit(learning_rate, federation, detect_hijack=detect_hijack)
        if state is not None:
            tell(f"Saved the phone's half to {state}")


device.add_command(evaluate)
device.add_command(predict)
device.add_command(probe)


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
    validation_data: str | None,
    split: float,
    seed: int,
    images: int | None,
    class_names: tuple[str, ...],
) -> Data:
    """Images and labels as they come, as many as are asked for."""
    shape = client.description.inputs[0].shape
    names = numbering(client.class_names, class_names)
    found = read_all(data, validation_data, shape, split, seed, names)
    form = _form(client)
    if form is not None and found.class_names:
        client.class_names = names_of_all(data, found, form.classes)
    found = found._replace(train=first(found.train, images))
    if found.validation is not None:
        found = found._replace(validation=first(found.validation, images))
    return found


def _form(client: "Client") -> LabelForm | None:
    """The form in which the loss wants labels; None in a file without one."""
    output = client.description.outputs[0]
    if output.label is None:
        return None
    return LabelForm(
        output.loss,
        sparse=output.label.dtype == "int32",
        shape=output.shape,
        binary=output.loss.startswith("binary"),
    )


def _batches(
    client: "Client",
    pair: Pair,
    seed: int | None,
    weights: np.ndarray[Any, Any] | None = None,
) -> "Batches":
    """Batches, with labels in the form that the loss wants."""
    from keras_split.device import batches

    x, y = pair
    form = _form(client)
    if form is not None:
        y = form.take(y)
    return batches(
        x,
        y,
        client.batch_size,
        seed,
        sample_weight=weights,
        preprocess=client.preprocess,
    )
