"""`keras-split train`: the phone's side."""

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import click

from keras_split import zoo
from keras_split.errors import DataError
from keras_split.utils.counted import counted
from keras_split_cli import output_file
from keras_split_cli import secret_file as secret_files
from keras_split_cli.augmentation import AugmentationType
from keras_split_cli.connection import Connection
from keras_split_cli.connection import server_option
from keras_split_cli.console import load_keras
from keras_split_cli.console import note
from keras_split_cli.console import size
from keras_split_cli.console import tell
from keras_split_cli.console import working
from keras_split_cli.data import SAMPLES
from keras_split_cli.data import data_options
from keras_split_cli.defense_option import defense_option
from keras_split_cli.defense_option import defenses_of
from keras_split_cli.federation_options import NAMES as FEDERATION
from keras_split_cli.federation_options import Federation
from keras_split_cli.federation_options import federation_options
from keras_split_cli.federation_options import no_early_stopping
from keras_split_cli.image_data import AS_THEY_ARE
from keras_split_cli.image_data import names_of_all
from keras_split_cli.image_data import numbering
from keras_split_cli.image_data import scaling
from keras_split_cli.image_presets import image_preset
from keras_split_cli.imports import import_option
from keras_split_cli.learning_rates import LearningRates
from keras_split_cli.learning_rates import LearningRatesType
from keras_split_cli.options import CLIENT
from keras_split_cli.options import Network
from keras_split_cli.options import check_source
from keras_split_cli.options import load_half
from keras_split_cli.options import network_options
from keras_split_cli.secret_file import secret_option
from keras_split_cli.sections import CONNECTION
from keras_split_cli.sections import SectionedCommand
from keras_split_cli.training_options import forgets
from keras_split_cli.training_options import read_all
from keras_split_cli.training_options import training_options

if TYPE_CHECKING:
    from keras_split.client.strategy import SplitStrategy
    from keras_split.models import ClientModel

_SECRET = "secret"  # in the folder of --resume, for a start before its state
_SECTIONS = {
    "What matters first": (
        "server",
        "data",
        "epochs",
        "batch_size",
        "learning_rate",
        "save",
        "resume",
    ),
    "Data": (
        "validation_data",
        "validation_split",
        "class_weights",
        "augment",
        "class_names",
        "classes_from",
        "skip_unreadable",
        "stream",
        "part",
        "only_classes",
    ),
    "Training": (
        "early_stopping",
        "detect_hijack",
        "freeze",
        "optimizer",
        "loss",
        "metrics",
        "log_dir",
        "microbatches",
        "reuse",
        "defenses",
    ),
    "With other phones, for one model": FEDERATION,
    "The network of a preset, as the server has it": (
        "cut",
        "input_size",
        "classes",
        "weights",
        "seed",
        "secret_file",
        "quantization",
        "codec",
        "bottleneck",
        "batchnorm_momentum",
        "fused_batchnorm",
    ),
    "Reaching the server": CONNECTION,
}


@click.command(cls=SectionedCommand, sections=_SECTIONS)
@click.argument("source", metavar="PRESET|CLIENT.KERAS")
@network_options
@secret_option
@import_option
@server_option(required=False)
@data_options
@training_options
@federation_options
@defense_option
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="N",
    help="How often to go through the images.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    metavar="N",
    help="Images in a step.",
)
@click.option(
    "--microbatches",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Send each batch in so many parts, so that phone, link and server "
    "work at the same time. Pays on a slow link.",
)
@click.option(
    "--reuse",
    is_flag=True,
    help="Send an image once, and 16 bytes in later epochs; with "
    "--freeze head.",
)
@click.option(
    "--optimizer",
    metavar="NAME",
    help="An optimizer of Keras, for the server as well; by default that of "
    "CLIENT.KERAS, else adam.",
)
@click.option(
    "--learning-rate",
    type=LearningRatesType(),
    metavar="RATE|head=RATE,body=RATE,tail=RATE",
    help="Of all parts, or of each apart; the optimizer's own by default.",
)
@click.option(
    "--loss",
    metavar="NAME",
    help="A loss of Keras; by default that of CLIENT.KERAS, else the one that "
    "fits the output.",
)
@click.option(
    "--metrics",
    metavar="NAME,...",
    help="Metrics of Keras; by default those of CLIENT.KERAS, else accuracy.",
)
@click.option(
    "--augment",
    type=AugmentationType(),
    metavar="KIND[=AMOUNT],...",
    help="Change the images at random, here and in training alone: flip, "
    "rotate, zoom, translate, contrast, brightness. Amounts are shares: "
    "rotate=0.05 is up to a 20th of a turn either way.",
)
@click.option(
    "--freeze",
    metavar="head|tail|body|LAYER,...",
    help="Leave parts as they are; the body only where it is trained here.",
)
@click.option(
    "--log-dir",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Write what TensorBoard shows.",
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
    metavar="FILE.keras",
    help="Write the trained half to this file.",
)
def train(
    source: str,
    server: str | None,
    data: str,
    validation_data: str | None,
    validation_split: float,
    class_names: tuple[str, ...],
    epochs: int,
    batch_size: int,
    microbatches: int | None,
    reuse: bool,
    optimizer: str | None,
    learning_rate: LearningRates | None,
    loss: str | None,
    metrics: str | None,
    class_weights: Any,
    augment: Any,
    detect_hijack: bool,
    freeze: str | None,
    early_stopping: int | None,
    log_dir: str | None,
    resume: str | None,
    save: str | None,
    secret_file: str | None,
    defenses: tuple[str, ...],
    **network: Any,
) -> None:
    """Train as the phone: head and tail here, the body on a server.

    Images and labels stay here. Preset, cut, input size and classes must be
    those of the server.

    \b
    keras-split serve mobilenet_v2 --input-size 96 --classes 2 \\
        --batchnorm-momentum 0.9 --save server.keras
    keras-split train mobilenet_v2 --input-size 96 --classes 2 \\
        --batchnorm-momentum 0.9 --server 127.0.0.1:50051 \\
        --data photos/ --epochs 5 --save client.keras

    Folders are laid out as photos/CLASS/IMAGE.jpg; the number of classes is
    the number of folders. A client.keras is trained with the optimizer, the
    loss and the metrics that it was compiled with; if it knows its classes it
    numbers the folders by them, and scales images as it was trained. --save
    keeps all of it.

    A lost connection or a server that is started again is waited for. With
    --resume a training that was killed goes on with the next epoch, and ends
    with the weights that it would have had; start the server with
    --checkpoints, so that it keeps its half. Ctrl-C stops after a step, and
    --save keeps what was learned so far.
    """  # noqa: D301 (\b is click's, for lines as they are)
    if save is not None and not save.endswith(".keras"):
        raise DataError(
            f"Expected a file name that ends in .keras. Received: {save!r}."
        )
    output_file.check_folder(save, "--save")
    output_file.check_new_folder(resume, "--resume")
    output_file.check_new_folder(log_dir, "--log-dir")
    check_source(source, CLIENT)
    secret = secret_files.take(
        secret_file,
        source,
        Path(resume) / _SECRET if resume is not None else None,
    )
    connection = Connection.take(server, network)
    federation = Federation.take(network)
    if federation is not None and early_stopping is not None:
        raise no_early_stopping()
    preset = None
    if source in zoo.names() or not source.endswith(".keras"):
        preset = image_preset(source, "train").name
    shape: tuple[int, ...] | None = None
    seed = network["seed"]
    if preset is not None:
        # The images first: what is wrong with them shows before Keras loads.
        shape = Network(source, **network).input_shape
        images = read_all(
            data, validation_data, shape, validation_split, seed, class_names
        )
        if network["classes"] is None:
            network["classes"] = images.classes
    own = data != SAMPLES and federation is None  # a cohort keeps its half
    if save is None and resume is None and own:
        note(forgets("--save FILE"))
    with working(f"Loading {source}"), warnings.catch_warnings():
        # Iterations and learning rate: it was saved before its first step.
        warnings.filterwarnings("ignore", "Skipping .* optimizer has 2 var")
        load_keras()
        chain = defenses_of(defenses, preset, resume)
        client: ClientModel = load_half(source, network, CLIENT, secret, chain)

    from keras_split_cli.compilation import Compilation
    from keras_split_cli.compilation import check_one_image
    from keras_split_cli.fitting import Fitting
    from keras_split_cli.interruption import Interruption
    from keras_split_cli.interruption import save_half
    from keras_split_cli.moving_statistics import warning

    check_one_image(client)
    if shape is None:
        shape = tuple(client.head.inputs[0].shape[1:])
        names = numbering(client.data_spec.class_names, class_names)
        images = read_all(
            data, validation_data, shape, validation_split, seed, names
        )
    scale = scaling(client, preset, kept=save is not None)
    if scale is None:
        note(AS_THEY_ARE)
    form = Compilation(optimizer, learning_rate, loss, metrics).compile(
        client,
        _strategy(client, connection, microbatches, reuse=reuse),
        images.train[1],
    )
    if images.class_names:
        names = names_of_all(data, images, form.classes)
        client.data_spec = client.data_spec.named(names)
    slow = warning(client, len(images.train[0]), batch_size, epochs)
    if slow is not None:
        note(slow)
    rate = None
    if learning_rate is not None:
        rate = float(client.optimizer.learning_rate)
    fitting = Fitting(
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        resume=resume,
        class_weights=class_weights,
        augment=augment,
        freeze=freeze,
        early_stopping=early_stopping,
        log_dir=log_dir,
        learning_rate=rate,
        federation=federation,
        detect_hijack=detect_hijack,
    )
    stop = Interruption(save, resume)
    try:
        with stop:
            trained = fitting.fit(client, images, form, shape, scale, stop)
            if save is not None:  # which Ctrl-C is not to cut off either
                save_half(client, save)
    except KeyboardInterrupt:
        note(stop.keep(client))
        if stop.whole:
            client.close()
        sys.exit(1)
    strategy = client.strategy
    samples = counted(trained * len(images.train[0]), "training image")
    validations = counted(trained, "validation")
    tell(
        f"Sent {size(strategy.uplink_bytes)} and received "
        f"{size(strategy.downlink_bytes)} for {samples}"
        + (f" and {validations}." if images.validation else ".")
    )
    if save is not None:
        tell(f"Saved the phone's half to {save}")
    client.close()


def _strategy(
    client: "ClientModel",
    connection: Connection,
    microbatches: int | None,
    *,
    reuse: bool,
) -> "SplitStrategy":
    """How to reach the server; without --server as the client was saved."""
    from keras_split.client.strategy import SplitStrategy

    saved = client.strategy
    if connection.address is None and not saved.local:
        if microbatches is None and not reuse:
            return saved
        config = saved.get_config() | ({"reuse": True} if reuse else {})
        if microbatches is not None:
            config["microbatches"] = microbatches
        return type(saved).from_config(config)
    return SplitStrategy(
        connection.address,
        microbatches=microbatches or 1,
        credentials=connection.credentials,
        retry=connection.retry,
        reuse=reuse,
    )
