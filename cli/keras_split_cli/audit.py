"""`keras-split audit`: what a server can find out, on one's own data."""

import math
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import click
import numpy as np

from keras_split import datasets
from keras_split import zoo
from keras_split.errors import DataError
from keras_split_cli import audit_output
from keras_split_cli.amount import Amount
from keras_split_cli.console import load_keras
from keras_split_cli.console import note
from keras_split_cli.console import size
from keras_split_cli.console import working
from keras_split_cli.data import data_options
from keras_split_cli.data import read_data
from keras_split_cli.defense_option import KNOWN
from keras_split_cli.defense_option import read_defense
from keras_split_cli.image_data import AS_THEY_ARE
from keras_split_cli.image_data import numbering
from keras_split_cli.image_data import scaling
from keras_split_cli.image_presets import image_preset
from keras_split_cli.imports import import_option
from keras_split_cli.learning_rates import LearningRates
from keras_split_cli.learning_rates import LearningRatesType
from keras_split_cli.options import CLIENT
from keras_split_cli.options import SERVER
from keras_split_cli.options import Network
from keras_split_cli.options import check_source
from keras_split_cli.options import load_half
from keras_split_cli.options import network_options
from keras_split_cli.sections import SectionedCommand
from keras_split_cli.stages import Stages

if TYPE_CHECKING:
    from keras_split.models import ClientModel
    from keras_split.models import ServerModel

_SECTIONS = {
    "What matters first": (
        "data",
        "public",
        "texts",
        "drill",
        "minutes",
        "output",
    ),
    "Data": (
        *("images", "validation_split", "class_names", "classes_from"),
        *("skip_unreadable", "stream"),
    ),
    "Training": ("epochs", "batch_size", "optimizer", "learning_rate"),
    "The network": (
        *("cut", "input_size", "classes", "weights", "seed"),
        *("quantization", "codec", "bottleneck", "server_model"),
        *("batchnorm_momentum", "fused_batchnorm", "modules"),
    ),
}
_NO_ATTACKS = "Nothing attacks networks with several inputs yet"
_EXAMPLE_SHAPE = (28, 28, 1)
_FIRST_LOOK, _MINUTES = 2.0, 10.0
_BYTES = 512 << 20  # of images of the phone, as many of the attacker
Halves = tuple["ClientModel", "ServerModel"]


@click.command(cls=SectionedCommand, sections=_SECTIONS)
@click.argument("source", metavar="[PRESET|CLIENT.KERAS]", required=False)
@network_options
@import_option
@data_options
@click.option(
    "--public",
    metavar="FOLDER|FILE.npz|NAME",
    help="What an attacker has: images of the same kind, none of them in "
    "--data. By default half of those of --data.",
)
@click.option(
    "--defense",
    "texts",
    multiple=True,
    metavar="NAME[:ARG=VALUE,...]",
    help="Repeat the training with this defense, to compare; several are one "
    f"behind the other: {KNOWN}",
)
@click.option(
    "--drill",
    is_flag=True,
    help="Have a server hijack the phone as well (FSHA), and see whether "
    "--detect-hijack of train would tell it; takes a third of the time.",
)
@click.option(
    "--images",
    type=click.IntRange(min=64),
    default=10_000,
    show_default=True,
    metavar="N",
    help="At most so many of the phone, and as many of the attacker.",
)
@click.option(
    "--minutes",
    type=Amount(min=0, min_open=True),
    metavar="N",
    help="About how long it takes; a longer attack gets more.  [default: "
    f"{_MINUTES:g}; {_FIRST_LOOK:g} for a first look]",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="How long the attacked training is, if there is time.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=2),
    default=32,
    show_default=True,
    metavar="N",
    help="Images in a step.",
)
@click.option(
    "--optimizer",
    metavar="NAME",
    help="An optimizer of Keras; by default that of CLIENT.KERAS, else adam.",
)
@click.option(
    "--learning-rate",
    type=LearningRatesType(),
    metavar="RATE|head=RATE,body=RATE,tail=RATE",
    help="Of all parts, or of each apart; the optimizer's own by default.",
)
@click.option(
    "--server-model",
    type=click.Path(dir_okay=False),
    metavar="SERVER.KERAS",
    help="The body of a CLIENT.KERAS; by default the server.keras beside it.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="Write report.html, reconstructions.png and report.json there.",
)
def audit(
    source: str | None,
    data: str,
    public: str | None,
    texts: tuple[str, ...],
    drill: bool,
    images: int,
    minutes: float | None,
    epochs: int,
    batch_size: int,
    optimizer: str | None,
    learning_rate: LearningRates | None,
    validation_split: float,
    class_names: tuple[str, ...],
    server_model: str | None,
    output: str | None,
    **network: Any,
) -> None:
    """Attack your own split: what could its server find out?

    A copy of the network trains here, split, while attacks see what a server
    would see, and try to read labels and to reconstruct images. Nothing is
    sent, and no file of yours is changed.

    \b
    keras-split audit                                   a first look, 2 minutes
    keras-split audit mobilenet_v2 --input-size 64 --data photos/ -o report/
    keras-split audit client.keras --data photos/ --public others/ \\
        --defense gaussian_noise:stddev=0.5 -o report/

    Without a name it is a small network on images that come with keras-split.
    With --defense the training is repeated with it, and the tables have both.
    """  # noqa: D301 (\b is click's, for lines as they are)
    audit_output.require_extra()
    folder = audit_output.prepared(output)
    preset = None
    if source is not None and not source.endswith(".keras"):
        preset = image_preset(source, "audit", _NO_ATTACKS).name
    elif source is not None:
        check_source(source, CLIENT)
    if source is None:
        note(
            "No network was named: this is a small one, for a first look. "
            "Yours: keras-split audit PRESET|CLIENT.KERAS --data FOLDER"
        )
    shape = _EXAMPLE_SHAPE if source is None else None
    if preset is not None:
        shape = Network(preset, **network).input_shape
    seed = network["seed"]
    if shape is not None:
        # The images first: what is wrong with them shows before Keras loads.
        found = read_data(data, shape, validation_split, seed, class_names)
        network["classes"] = network["classes"] or found.classes
    with working(f"Loading {source or 'Keras'}"):
        load_keras()
        import keras

        keras.utils.set_random_seed(seed)
        client, server = _halves(source, network, server_model)
    from keras_split.audit import runner

    runner.check(client)
    compare = (
        {" + ".join(texts): [*map(read_defense, texts)]} if texts else None
    )
    if shape is None:
        shape = tuple(client.head.inputs[0].shape[1:])
        names = numbering(client.data_spec.class_names, class_names)
        found = read_data(data, shape, validation_split, seed, names)
    scale: Any = scaling(client, preset, kept=False) if source else "tf"
    if scale is None:
        note(AS_THEY_ARE)
    pairs = [
        _ready(pair, shape, scale)
        for pair in _pairs(found, public, shape, images, seed)
    ]
    _compile(client, optimizer, learning_rate, found.train[1])
    with Stages(minutes or (_MINUTES if source else _FIRST_LOOK)) as stages:
        report = runner.run(
            client,
            server,
            *pairs[:2],
            held_out=pairs[2] if len(pairs) > 2 else None,
            compare=compare,
            minutes=stages.minutes,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            drill=drill,
            words=_words(source, data, public),
            told=stages.told,
        )
    audit_output.show(report)
    audit_output.write(report, folder)


def _halves(
    source: str | None, network: dict[str, Any], server_model: str | None
) -> "Halves":
    """Client and server, of whatever was named."""
    if source is None:
        import keras_split
        from keras_split.audit.example import CUTS
        from keras_split.audit.example import example_network

        return keras_split.compile(
            example_network(_EXAMPLE_SHAPE, network["classes"]),
            [CUTS[0], "features"],
            quantization=network["quantization"],
            codec=network["codec"],
            bottleneck=network["bottleneck"],
        )
    if source in zoo.names():
        return Network(source, **network).load()
    body = Path(server_model or Path(source).with_name("server.keras"))
    if server_model is None and not body.is_file():
        raise DataError(
            "Expected the server's half as well, to train a copy of both "
            f"here. Received: {source!r}, and no {body}. Name it with "
            "--server-model SERVER.KERAS: what server.save or serve --save "
            "wrote."
        )
    return (
        load_half(source, {}, CLIENT),
        load_half(str(body), {}, SERVER),
    )


def _pairs(
    found: Any, public: str | None, shape: Any, images: int, seed: int
) -> list[Any]:
    """Images and labels: the phone's, the attacker's, and others if any."""
    rng = np.random.default_rng(seed)
    fit = _BYTES // (4 * math.prod(shape))
    if fit < min(images, len(found.train[1])):
        note(
            f"At most {fit:,} images of each are taken, what "
            f"{size(_BYTES)} of memory hold"
        )
        images = fit

    def some(pair: Any, count: int) -> tuple[Any, list[Any]]:
        """At most so many of them twice, by chance: folders are in order."""
        order = rng.permutation(len(pair[1]))
        rows = order[:count], order[count : 2 * count]
        first, second = [[part[at] for part in pair] for at in rows]
        return first, second

    if public is None:
        half = min(len(found.train[1]) // 2, images)
        note(
            f"Without --public half of the images are the attacker's: {half:,} "
            "of the phone, as many of the attacker"
        )
        pairs = [*some(found.train, half)]
    else:
        other = read_data(public, shape, 0.0, seed, found.class_names)
        pairs = [some(pair, images)[0] for pair in (found.train, other.train)]
    if found.validation is not None:
        pairs.append(some(found.validation, images)[0])
    return pairs


def _ready(pair: Any, shape: Any, scale: Any) -> Any:
    x, y = pair
    if len(shape) != 3 or shape[2] not in (1, 3):
        return np.asarray(x, "float32"), np.asarray(y)  # no images
    return np.asarray(datasets.to_model_input(x, shape, scale)), np.asarray(y)


def _compile(
    client: "ClientModel",
    optimizer: str | None,
    learning_rate: LearningRates | None,
    labels: Any,
) -> None:
    from keras_split.client.strategy import SplitStrategy
    from keras_split_cli.compilation import Compilation

    Compilation(optimizer, learning_rate).compile(
        client, SplitStrategy(), labels
    )


def _words(source: str | None, data: str, public: str | None) -> dict[str, str]:
    return {
        "network": source or "a small example",
        "data": data,
        "the attacker's data": public or f"half of {data}",
    }
