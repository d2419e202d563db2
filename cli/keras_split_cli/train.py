"""`keras-split train`: the phone's side."""

from typing import TYPE_CHECKING
from typing import Any

import click

from keras_split import datasets
from keras_split import zoo
from keras_split.errors import DataError
from keras_split_cli.console import load_keras
from keras_split_cli.console import out
from keras_split_cli.console import size
from keras_split_cli.console import working
from keras_split_cli.data import Pair
from keras_split_cli.data import read_data
from keras_split_cli.options import CLIENT
from keras_split_cli.options import Network
from keras_split_cli.options import load_half
from keras_split_cli.options import network_options

if TYPE_CHECKING:
    from keras_split.models import ClientModel


@click.command()
@click.argument("source", metavar="PRESET|CLIENT.KERAS")
@network_options
@click.option(
    "--server",
    metavar="HOST:PORT",
    help="Where keras-split serve runs. Without it the body is trained in "
    "this process.",
)
@click.option(
    "--data",
    default="fashion_mnist",
    show_default=True,
    metavar="FOLDER|FILE.npz|NAME",
    help="A folder with one sub-folder of images for each class; an .npz "
    "with x and y; or a built-in data set.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=3, show_default=True
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=32, show_default=True
)
@click.option(
    "--optimizer",
    default="adam",
    show_default=True,
    help="An optimizer of Keras; the server uses the same.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    help="The optimizer's own by default.",
)
@click.option(
    "--validation-split",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of the images held back, where the data set brings none.",
)
@click.option(
    "--save",
    type=click.Path(dir_okay=False),
    help="Write the trained half to this .keras file.",
)
def train(
    source: str,
    server: str | None,
    data: str,
    epochs: int,
    batch_size: int,
    optimizer: str,
    learning_rate: float | None,
    validation_split: float,
    save: str | None,
    **network: Any,
) -> None:
    """Train as the phone: head and tail here, the body on a server.

    Images and labels stay here. Preset, cut, input size, classes and seed
    must be those of the server.

    \b
    keras-split serve mobilenet_v2 --input-size 96 --classes 2
    keras-split train mobilenet_v2 --input-size 96 --classes 2 \\
        --server 127.0.0.1:50051 --data photos/ --epochs 5

    Folders are laid out as photos/CLASS/IMAGE.jpg; the number of classes is
    the number of folders.
    """  # noqa: D301 (\b is click's, for lines as they are)
    if save is not None and not save.endswith(".keras"):
        raise DataError(
            f"Expected a file name that ends in .keras. Received: {save!r}."
        )
    if server is not None and not server.rpartition(":")[2].isdigit():
        raise click.BadParameter(
            f"Expected HOST:PORT. Received: {server!r}.",
            param_hint="'--server'",
        )
    preset = source if source in zoo.names() else None
    if preset is None and not source.endswith(".keras"):
        zoo.get(source)  # says which presets there are
    shape: tuple[int, ...] | None = None
    if preset is not None:
        # The images first: what is wrong with them shows before Keras loads.
        shape = Network(source, **network).input_shape
        images = read_data(data, shape, validation_split, network["seed"])
        if network["classes"] is None:
            network["classes"] = int(images[0][1].max()) + 1
    with working(f"Loading {source}"):
        load_keras()
        client = load_half(source, network, CLIENT)
    if shape is None:
        shape = tuple(client.head.inputs[0].shape[1:])
        images = read_data(data, shape, validation_split, network["seed"])
    _fit(
        client,
        images,
        shape,
        zoo.get(preset).preprocess if preset else None,
        server,
        optimizer,
        learning_rate,
        epochs,
        batch_size,
    )
    strategy = client.strategy
    samples = epochs * len(images[0][0])
    out.print(
        f"Sent {size(strategy.uplink_bytes)} and received "
        f"{size(strategy.downlink_bytes)} for {samples:,} training images"
        + (f" and {epochs} validations." if images[1] else ".")
    )
    if save is not None:
        client.save(save)
        out.print(f"Saved the phone's half to {save}")
    client.close()


def _fit(
    client: "ClientModel",
    images: tuple[Pair, Pair | None],
    shape: tuple[int, ...],
    preprocess: str | None,
    server: str | None,
    optimizer: str,
    learning_rate: float | None,
    epochs: int,
    batch_size: int,
) -> None:
    import keras

    from keras_split.strategies import SplitStrategy

    function = zoo.resolve(preprocess) if preprocess else None
    pairs = [
        (datasets.to_model_input(x, shape, function), y)
        for x, y in (p for p in images if p is not None)
    ]
    labels, outputs = int(max(y.max() for _, y in pairs)) + 1, _classes(client)
    if outputs is not None and labels > outputs:
        raise DataError(
            f"Expected labels from 0 to {outputs - 1}, as the network has "
            f"{outputs} classes. Received: {labels - 1}. Pass --classes "
            f"{labels} here and to the server."
        )
    try:
        chosen = keras.optimizers.get(optimizer)
    except ValueError as error:
        raise click.BadParameter(
            f"Expected an optimizer of Keras. Received: {optimizer!r}.",
            param_hint="'--optimizer'",
        ) from error
    if learning_rate is not None:
        chosen.learning_rate = learning_rate
    client.compile(
        chosen,
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        strategy=SplitStrategy(f"grpc://{server}") if server else None,
    )
    client.fit(
        *pairs[0],
        batch_size=batch_size,
        epochs=epochs,
        validation_data=pairs[1] if len(pairs) > 1 else None,
    )


def _classes(client: "ClientModel") -> int | None:
    last = client.tail.outputs[0] if client.tail is not None else None
    return int(last.shape[-1]) if last is not None else None
