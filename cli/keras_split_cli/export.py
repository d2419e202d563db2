"""`keras-split export`: the phone's half as a LiteRT file."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import click
import numpy as np
from click.core import ParameterSource
from rich.table import Table

from keras_split import zoo
from keras_split.errors import DataError
from keras_split.errors import ExportError
from keras_split_cli import output_file
from keras_split_cli import secret_file as secret_files
from keras_split_cli.connection import Connection
from keras_split_cli.connection import server_option
from keras_split_cli.console import load_keras
from keras_split_cli.console import out
from keras_split_cli.console import quietly
from keras_split_cli.console import size
from keras_split_cli.console import tell
from keras_split_cli.console import working
from keras_split_cli.data import class_options
from keras_split_cli.data import read_data
from keras_split_cli.defense_option import defense_option
from keras_split_cli.defense_option import defenses_of
from keras_split_cli.image_data import numbering
from keras_split_cli.image_data import scaling
from keras_split_cli.imports import import_option
from keras_split_cli.learning_rates import LearningRates
from keras_split_cli.learning_rates import LearningRatesType
from keras_split_cli.options import CLIENT
from keras_split_cli.options import TEXTS
from keras_split_cli.options import Network
from keras_split_cli.options import check_source
from keras_split_cli.options import load_half
from keras_split_cli.options import network_options
from keras_split_cli.options import text_options
from keras_split_cli.secret_file import secret_option
from keras_split_cli.sections import CONNECTION
from keras_split_cli.sections import SectionedCommand

if TYPE_CHECKING:
    from keras_split.models import ClientModel

LOSS = "sparse_categorical_crossentropy"
CALIBRATION = 128
_ONLY = {
    "train": ("optimizer", "learning_rate"),
    "infer": ("precision", "calibration", "server"),
}
_ONLY_INT8 = ("calibration", "server")


_SECTIONS = {
    "Options": (
        *("output", "class_names", "classes_from", "mode", "batch_size"),
        *("optimizer", "learning_rate"),
        *("precision", "calibration", "device_state", "defenses"),
        *("server", "modules"),
    ),
    "How the server is reached": CONNECTION,
    "The network of a preset, as the server has it": (
        *("cut", "input_size", "classes", "weights", "seed", "secret_file"),
        *(
            "quantization",
            "codec",
            "bottleneck",
            "batchnorm_momentum",
            "fused_batchnorm",
        ),
        *TEXTS,
    ),
}


@click.command(cls=SectionedCommand, sections=_SECTIONS)
@click.argument("source", metavar="PRESET|CLIENT.KERAS")
@network_options
@text_options
@secret_option
@import_option
@class_options(
    "All classes in the order of their labels, which the files will say. By "
    "default those that the client knows."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder for client.tflite and client.json; of a preset also "
    "client.keras and server.keras, which belong to them.",
)
@click.option(
    "--mode",
    type=click.Choice(["train", "infer"]),
    default="train",
    show_default=True,
    help="A file that trains, or a smaller one that only predicts.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    help="Rows of every tensor in the file: 8 to train, 1 to predict.",
)
@click.option(
    "--optimizer",
    type=click.Choice(["sgd", "adam", "adamw"]),
    help="What the file trains with; that of a compiled client, or sgd with "
    "momentum 0.9.",
)
@click.option(
    "--learning-rate",
    type=LearningRatesType(),
    metavar="RATE|head=RATE,body=RATE,tail=RATE",
    help="What the phone starts from, for all parts or for each apart; the "
    "optimizer's own by default.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "dynamic", "int8"]),
    default="float32",
    show_default=True,
    help="Of the weights, with --mode infer.",
)
@click.option(
    "--calibration",
    default="fashion_mnist",
    show_default=True,
    metavar="FOLDER|FILE.npz|NAME",
    help="Images that int8 takes its ranges from, with --precision int8.",
)
@click.option(
    "--device-state",
    type=click.Path(dir_okay=False),
    metavar="STATE.NPZ",
    help="Take what a LiteRT-only device has learned: what device train "
    "--state wrote.",
)
@defense_option
@server_option(
    required=False,
    otherwise="Of a client.keras, --precision int8 asks it for the features "
    "that the tail takes its ranges from.",
)
def export(
    source: str,
    output: str,
    class_names: tuple[str, ...],
    mode: str,
    batch_size: int | None,
    optimizer: str | None,
    learning_rate: LearningRates | None,
    precision: str,
    calibration: str,
    device_state: str | None,
    server: str | None,
    secret_file: str | None,
    defenses: tuple[str, ...],
    **network: Any,
) -> None:
    """Write the phone's half as a LiteRT file.

    client.tflite trains on the device with LiteRT's own operations alone;
    client.json says how. A phone or a Raspberry Pi takes the two, the server
    takes server.keras.

    \b
    keras-split export mobilenet_v2 --input-size 96 \\
        --class-names cat,dog,fox -o halves/
    keras-split serve halves/server.keras
    keras-split device train halves/client.tflite \\
        --server 127.0.0.1:50051 --data photos/
    keras-split export halves/client.keras --device-state state.npz \\
        --mode infer -o app/
    """  # noqa: D301 (\b is click's, for lines as they are)
    _check_options(mode, precision)
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise DataError(f"Expected a folder. Received: {output!r}, a file.")
    output_file.check_new_folder(output, "-o")
    check_source(source, CLIENT)
    secret = secret_files.take(secret_file, source)
    connection = Connection.take(server, network)
    preset = source if source in zoo.names() else None
    if preset is not None:
        Network(source, **network).check()
    with working(f"Loading {source}"):
        load_keras()
        if class_names and network["classes"] is None:
            network["classes"] = len(class_names)
        chain = defenses_of(defenses, preset)
        client, body = _halves(source, preset, network, secret, chain)
        if device_state is not None:
            client.load_device_state(device_state)
    names = numbering(client.data_spec.class_names, class_names)
    client.data_spec = client.data_spec.named(names)
    scale = scaling(client, preset, kept=True)
    options: dict[str, Any] = {"mode": mode, "batch_size": batch_size}
    if preset is None:
        options["sequence_length"] = network["sequence_length"]
    if mode == "train":
        options |= _optimizer(client, optimizer, learning_rate)
        if not client.compiled:
            options["loss"] = zoo.get(preset).loss if preset else LOSS
    else:
        options["precision"] = precision
        if precision == "int8":
            _reach(client, connection)
            options["calibration"] = _images(client, scale, calibration)
    with working("Converting to LiteRT"), quietly():
        about = client.export(folder / "client.tflite", **options)
    if body is not None:
        for name, half in (("client", client), ("server", body)):
            with output_file.draft(str(folder / f"{name}.keras")) as draft:
                half.save(draft)
    _report(folder, about)
    if body is not None:
        tell(
            "Keep client.* from the server: who has them knows the initial "
            "weights of head and tail, and reads more out of what is sent."
        )


def _check_options(mode: str, precision: str) -> None:
    """Refuses what another mode or precision alone would look at."""
    context = click.get_current_context()
    for other, names in _ONLY.items():
        for name in names:
            source = context.get_parameter_source(name)
            if other != mode and source is ParameterSource.COMMANDLINE:
                option = f"--{name.replace('_', '-')}"
                raise click.UsageError(
                    f"Expected {option} with --mode {other} alone. Received: "
                    f"--mode {mode}. Leave {option} out, or pass --mode "
                    f"{other}."
                )
    for name in _ONLY_INT8:
        given = context.get_parameter_source(name)
        if precision != "int8" and given is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"Expected --{name} with --precision int8 alone. Received: "
                f"--precision {precision}. Leave --{name} out, or pass "
                "--precision int8."
            )


def _halves(
    source: str,
    preset: str | None,
    network: dict[str, Any],
    secret: bytes | None,
    defenses: Any,
) -> tuple[Any, Any]:
    if preset is not None:
        return Network(source, **network).load(secret, defenses)
    return load_half(source, network, CLIENT), None


def _reach(client: "ClientModel", connection: Connection) -> None:
    """Lets the client ask a server, which the command names or it knows."""
    from keras_split.client.strategy import SplitStrategy
    from keras_split.utils.keras_private import compile_config

    if connection.address is not None:
        given = compile_config(client) or {"optimizer": None}
        client.compile(
            **given
            | {
                "strategy": SplitStrategy(
                    connection.address,
                    credentials=connection.credentials,
                    retry=connection.retry,
                )
            }
        )
    elif not client._server_link.reachable:
        raise ExportError(
            "Expected a server, whose features the tail's int8 ranges are "
            "taken from. Received: a client that knows none. Pass --server "
            "HOST:PORT of the keras-split serve that it trained with, or take "
            "--precision dynamic."
        )


def _optimizer(
    client: "ClientModel", name: str | None, learning_rate: LearningRates | None
) -> dict[str, Any]:
    import keras

    options: dict[str, Any] = {}
    chosen: Any = getattr(client, "optimizer", None)
    if name == "sgd" or (name is None and chosen is None):
        chosen = keras.optimizers.SGD(0.01, momentum=0.9)
    elif name is not None:
        chosen = keras.optimizers.get(name)
    if learning_rate is not None:
        try:
            options["learning_rate_multipliers"] = learning_rate.given_to(
                chosen
            )
        except TypeError as error:  # Keras, of an optimizer with a schedule
            raise ExportError(
                "Expected an optimizer with a constant learning rate, which "
                f"--learning-rate can set. Received: {type(chosen).__name__} "
                "with a LearningRateSchedule. Leave --learning-rate out, or "
                "pass --optimizer too."
            ) from error
    return options | {"optimizer": chosen}


def _images(
    client: "ClientModel", scale: Callable[[Any], Any] | None, data: str
) -> Any:
    """Images drawn at random, as the network wants them."""
    from keras_split import datasets

    if len(client.wiring.inputs) != 1:
        raise ExportError(
            "Expected a model that takes one image, to calibrate with images. "
            f"Received: the inputs {', '.join(client.wiring.inputs)}. Export "
            "it from Python, client.export(..., calibration=x), or take "
            "--precision dynamic."
        )
    shape = tuple(client.head.inputs[0].shape[1:])
    (x, y), *_ = read_data(data, shape, 0.0, 0)
    order = np.random.default_rng(0).permutation(len(x))[:CALIBRATION]
    return datasets.to_model_input(x[order], shape, scale)


def _report(folder: Path, about: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in ("signature", "in", "out"):
        table.add_column(
            column, justify="left" if column == "signature" else "right"
        )
    for name, ends in about["signatures"].items():
        sizes = [
            size(sum(_nbytes(tensor) for tensor in ends[direction]))
            for direction in ("inputs", "outputs")
        ]
        table.add_row(name, *sizes)
    out.print(table)
    out.print()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".tflite", ".json", ".keras"):
            tell(f"{path}  {size(path.stat().st_size)}")


def _nbytes(tensor: dict[str, Any]) -> int:
    items = math.prod(tensor["shape"])
    return int(items * np.dtype(tensor["dtype"]).itemsize)
