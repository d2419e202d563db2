"""`keras-split device evaluate` and `predict`: with LiteRT alone."""

from typing import TYPE_CHECKING
from typing import Any

import click

from keras_split.errors import DataError
from keras_split_cli import evaluate as evaluation
from keras_split_cli import output_file
from keras_split_cli import photo_list
from keras_split_cli import predict as prediction
from keras_split_cli.connection import Connection
from keras_split_cli.connection import server_option
from keras_split_cli.data import data_options
from keras_split_cli.scorers import load_state
from keras_split_cli.scorers import open_device
from keras_split_cli.sections import CONNECTION
from keras_split_cli.sections import SectionedCommand

if TYPE_CHECKING:
    from keras_split.device.scoring import DeviceScorer

_EVALUATE = {
    "What matters first": ("server", "data", "state", "output", "plot"),
    "Which images": (
        *("validation_split", "seed", "images", "skip_unreadable", "stream"),
        *("class_names", "classes_from"),
    ),
    "Reaching the server": CONNECTION,
}
_PREDICT = {
    "What matters first": ("server", "state", "top", "form", "output"),
    "The model": ("names", "classes_from", "batch_size"),
    "Reaching the server": CONNECTION,
}
_THREADS = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads of one operation; LiteRT's choice by default.",
)


@click.command(
    cls=SectionedCommand,
    sections=_EVALUATE,
    short_help="Loss and figures of each class, without training.",
)
@click.argument("source", metavar="CLIENT.TFLITE")
@server_option(required=True)
@data_options
@evaluation.split_options
@_THREADS
@evaluation.STATE
@evaluation.report_options
def evaluate(
    source: str,
    server: str,
    data: str,
    validation_split: float,
    class_names: tuple[str, ...],
    seed: int,
    images: int | None,
    threads: int | None,
    state: str | None,
    output: str | None,
    plot: str | None,
    **connection: Any,
) -> None:
    """Loss, accuracy and figures of each class on images train holds back.

    With --validation-split 0 on all images of a folder or an .npz file.
    Nothing is trained. With --state the server's half is set back to what it
    was when the state was saved, unless the server only predicts.

    \b
    keras-split device evaluate client.tflite --server 10.0.0.2:50051 \\
        --data photos/ --state state.npz
    """  # noqa: D301 (\b is click's, for lines as they are)
    evaluation.check_outputs(output, plot)
    scorer = _open(source, Connection.take(server, connection), threads)
    try:
        load_state(scorer, state, body=True)
        evaluation.run(
            scorer,
            source,
            data,
            (validation_split, seed, images),
            class_names,
            scorer.client.batch_size,
            output,
            plot,
        )
    finally:
        scorer.close()


@click.command(
    cls=SectionedCommand, sections=_PREDICT, short_help="Say what images are."
)
@click.argument("source", metavar="CLIENT.TFLITE")
@click.argument("images", nargs=-1, required=True)
@server_option(required=True)
@_THREADS
@prediction.STATE
@prediction.prediction_options
def predict(
    source: str,
    images: tuple[str, ...],
    server: str,
    threads: int | None,
    state: str | None,
    top: int,
    form: str,
    output: str | None,
    batch_size: int,
    names: str | None,
    classes_from: str | None,
    **connection: Any,
) -> None:
    """Say what the model takes images for.

    IMAGES are files, folders (those in them, too) and .npz. An image that
    cannot be read is named and passed over; the exit code is 1 then.

    \b
    keras-split device predict client.tflite photos/ \\
        --server 10.0.0.2:50051 --state state.npz --top 3
    """  # noqa: D301 (\b is click's, for lines as they are)
    output_file.check(output, (".csv", ".json"), "--output")
    photos = photo_list.find(images)
    scorer = _open(source, Connection.take(server, connection), threads)
    try:
        load_state(scorer, state, body=False)
        given = prediction.given_names(names, classes_from)
        prediction.run(scorer, photos, top, form, output, batch_size, given)
    finally:
        scorer.close()


def _open(
    source: str, connection: Connection, threads: int | None
) -> "DeviceScorer":
    if not source.endswith(".tflite"):
        raise DataError(
            f"Expected a client.tflite. Received: {source!r}. For a .keras "
            "there are keras-split evaluate and predict."
        )
    return open_device(source, connection, threads)
