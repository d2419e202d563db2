"""`keras-split train`: the phone's side."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import click

from keras_split import datasets
from keras_split import zoo
from keras_split.errors import DataError
from keras_split_cli.connection import Connection
from keras_split_cli.connection import server_option
from keras_split_cli.console import load_keras
from keras_split_cli.console import size
from keras_split_cli.console import tell
from keras_split_cli.console import working
from keras_split_cli.data import Pair
from keras_split_cli.data import data_options
from keras_split_cli.data import read_data
from keras_split_cli.image_data import AS_THEY_ARE
from keras_split_cli.image_data import names_of_all
from keras_split_cli.image_data import numbering
from keras_split_cli.image_data import scaling
from keras_split_cli.imports import import_option
from keras_split_cli.learning_rates import LearningRates
from keras_split_cli.learning_rates import LearningRatesType
from keras_split_cli.options import CLIENT
from keras_split_cli.options import Network
from keras_split_cli.options import load_half
from keras_split_cli.options import network_options

if TYPE_CHECKING:
    from keras_split.models import ClientModel


@click.command()
@click.argument("source", metavar="PRESET|CLIENT.KERAS")
@network_options
@import_option
@server_option(required=False)
@data_options
@click.option(
    "--epochs", type=click.IntRange(min=1), default=3, show_default=True
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=32, show_default=True
)
@click.option(
    "--microbatches",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Send each batch in so many parts, so that phone, link and server "
    "work at the same time. Pays on a slow link.",
)
@click.option(
    "--optimizer",
    default="adam",
    show_default=True,
    help="An optimizer of Keras; the server uses the same.",
)
@click.option(
    "--learning-rate",
    type=LearningRatesType(),
    metavar="RATE|head=RATE,body=RATE,tail=RATE",
    help="Of all parts, or of each apart; the optimizer's own by default.",
)
@click.option(
    "--resume",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Keep the state of both halves in this folder after each epoch, and "
    "go on from there if it has one.",
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
    microbatches: int,
    optimizer: str,
    learning_rate: LearningRates | None,
    validation_split: float,
    class_names: tuple[str, ...],
    resume: str | None,
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
    the number of folders. A client.keras that knows its classes numbers the
    folders by them, and scales images as it was trained; --save keeps both.

    A lost connection or a server that is started again is waited for. With
    --resume a training that was killed goes on with the next epoch, and ends
    with the weights that it would have had; start the server with
    --checkpoints, so that it keeps its half.
    """  # noqa: D301 (\b is click's, for lines as they are)
    if save is not None and not save.endswith(".keras"):
        raise DataError(
            f"Expected a file name that ends in .keras. Received: {save!r}."
        )
    connection = Connection.take(server, network)
    preset = source if source in zoo.names() else None
    if preset is None and not source.endswith(".keras"):
        zoo.get(source)  # says which presets there are
    shape: tuple[int, ...] | None = None
    if preset is not None:
        # The images first: what is wrong with them shows before Keras loads.
        shape = Network(source, **network).input_shape
        images = read_data(
            data, shape, validation_split, network["seed"], class_names
        )
        if network["classes"] is None:
            labels = int(images.train[1].max()) + 1
            network["classes"] = len(images.class_names) or labels
    with working(f"Loading {source}"):
        load_keras()
        client = load_half(source, network, CLIENT)
    if shape is None:
        shape = tuple(client.head.inputs[0].shape[1:])
        names = numbering(client.data_spec.class_names, class_names)
        images = read_data(
            data, shape, validation_split, network["seed"], names
        )
    scale = scaling(client, preset, kept=save is not None)
    if scale is None:
        tell(AS_THEY_ARE)
    if all_names := names_of_all(data, images, _classes(client)):
        client.data_spec = client.data_spec.named(all_names)
    trained = _fit(
        client,
        images[:2],
        shape,
        scale,
        connection,
        optimizer,
        learning_rate,
        epochs,
        batch_size,
        microbatches,
        network["seed"],
        resume,
    )
    strategy = client.strategy
    samples = trained * len(images[0][0])
    tell(
        f"Sent {size(strategy.uplink_bytes)} and received "
        f"{size(strategy.downlink_bytes)} for {samples:,} training images"
        + (f" and {trained} validations." if images[1] else ".")
    )
    if save is not None:
        client.save(save)
        tell(f"Saved the phone's half to {save}")
    client.close()


def _fit(
    client: "ClientModel",
    images: tuple[Pair, Pair | None],
    shape: tuple[int, ...],
    scale: Callable[[Any], Any] | None,
    connection: Connection,
    optimizer: str,
    learning_rate: LearningRates | None,
    epochs: int,
    batch_size: int,
    microbatches: int,
    seed: int,
    resume: str | None,
) -> int:
    """Trains; returns how many epochs, which may be fewer than asked for."""
    import keras

    from keras_split.client.strategy import SplitStrategy
    from keras_split.models.resume import Resume
    from keras_split_cli.batches import Batches

    pairs = [
        (datasets.to_model_input(x, shape, scale), y)
        for x, y in (p for p in images if p is not None)
    ]
    try:
        chosen = keras.optimizers.get(optimizer)
    except ValueError as error:
        raise click.BadParameter(
            f"Expected an optimizer of Keras. Received: {optimizer!r}.",
            param_hint="'--optimizer'",
        ) from error
    multipliers = {}
    if learning_rate is not None:
        multipliers = learning_rate.given_to(
            chosen, has_tail=client.tail is not None
        )
    client.compile(
        chosen,
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        strategy=SplitStrategy(
            connection.address,
            microbatches=microbatches,
            credentials=connection.credentials,
            retry=connection.retry,
        ),
        learning_rate_multipliers=multipliers,
    )
    batches = Batches(*pairs[0], batch_size, seed)
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=batches.shuffle)]
    if resume is not None:
        callbacks.append(Resume(resume))
    history = client.fit(
        batches,
        epochs=epochs,
        validation_data=datasets.batches(*pairs[1], batch_size)
        if len(pairs) > 1
        else None,
        shuffle=False,  # Batches has an order of its own
        callbacks=callbacks,
    )
    done = len(history.epoch)
    if done < epochs:
        tell(f"{epochs - done} of {epochs} epochs were done before.")
    return done


def _classes(client: "ClientModel") -> int | None:
    last = client.tail.outputs[0] if client.tail is not None else None
    return int(last.shape[-1]) if last is not None else None
