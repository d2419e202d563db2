"""`keras-split evaluate`: how good a model is, class by class."""

from collections.abc import Callable
from typing import Any
from typing import TypeVar

import click
import numpy as np
from rich.progress import Progress

from keras_split import datasets
from keras_split.errors import DataError
from keras_split.evaluation import Report
from keras_split.evaluation.plot import plot_confusion
from keras_split.evaluation.plot import require_plots
from keras_split_cli import output_file
from keras_split_cli import reports
from keras_split_cli.connection import Connection
from keras_split_cli.connection import server_option
from keras_split_cli.console import progress
from keras_split_cli.console import tell
from keras_split_cli.data import data_options
from keras_split_cli.data import first
from keras_split_cli.data import read_data
from keras_split_cli.imports import import_option
from keras_split_cli.scorers import Scorer
from keras_split_cli.scorers import class_names
from keras_split_cli.scorers import load_state
from keras_split_cli.scorers import opened
from keras_split_cli.sections import CONNECTION
from keras_split_cli.sections import SectionedCommand

_F = TypeVar("_F", bound=Callable[..., Any])


STATE = click.option(
    "--state",
    type=click.Path(dir_okay=False),
    help="Of a client.tflite: evaluate what device train wrote to this .npz "
    "file. The server's half is set back, too, unless it only predicts.",
)


def report_options(function: _F) -> _F:
    """Adds where a report goes beside the terminal."""
    for option in reversed(
        [
            click.option(
                "--output",
                type=click.Path(dir_okay=False),
                metavar="FILE.json|FILE.csv",
                help="Write the figures to this file, too.",
            ),
            click.option(
                "--plot",
                type=click.Path(dir_okay=False),
                metavar="FILE.png",
                help="Draw the confusion matrix to this file; needs "
                "matplotlib.",
            ),
        ]
    ):
        function = option(function)
    return function


def split_options(function: _F) -> _F:
    """Adds which images of the data are taken."""
    for option in reversed(
        [
            click.option(
                "--seed",
                type=click.IntRange(min=0),
                default=0,
                show_default=True,
                help="Of the training, for --validation-split.",
            ),
            click.option(
                "--images",
                type=click.IntRange(min=1),
                help="Use the first so many images only.",
            ),
        ]
    ):
        function = option(function)
    return function


_SECTIONS = {
    "What matters first": ("server", "data", "output", "plot"),
    "Which images": (
        *("validation_split", "seed", "images", "skip_unreadable", "stream"),
        *("class_names", "classes_from"),
    ),
    "The model": ("state", "batch_size", "modules"),
    "Reaching the server": CONNECTION,
}


@click.command(
    cls=SectionedCommand,
    sections=_SECTIONS,
    # All images, where a training would hold some back.
    context_settings={"default_map": {"validation_split": 0.0}},
)
@click.argument("source", metavar="MODEL")
@import_option
@server_option(required=False, otherwise="A whole model needs none.")
@data_options
@split_options
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    default=32,
    show_default=True,
    help="Images that are read and evaluated at a time.",
)
@STATE
@report_options
def evaluate(
    source: str,
    server: str | None,
    data: str,
    validation_split: float,
    class_names: tuple[str, ...],
    seed: int,
    images: int | None,
    batch_size: int,
    state: str | None,
    output: str | None,
    plot: str | None,
    **connection: Any,
) -> None:
    """Say how good a model is: loss, metrics, figures of each class.

    MODEL is a client.keras or a phone's client.tflite, whose server runs at
    --server; or a whole model, .keras or .tflite, that keras-split join
    wrote. Nothing is trained.

    \b
    keras-split evaluate client.keras --server 127.0.0.1:50051 --data photos/
    keras-split evaluate whole.tflite --data photos/ --plot confusion.png

    All images of a folder or an archive are taken, or its test images where
    it has some. With --validation-split those that train holds back with the
    same split and seed. Needs TensorFlow for .keras alone.
    """  # noqa: D301 (\b is click's, for lines as they are)
    check_outputs(output, plot)
    reached = Connection.take(server, connection)
    with opened(source, reached) as scorer:
        load_state(scorer, state, body=True)
        run(
            scorer,
            source,
            data,
            (validation_split, seed, images),
            class_names,
            batch_size,
            output,
            plot,
        )


def check_outputs(output: str | None, plot: str | None) -> None:
    """Refuses what could not be written at the end.

    Raises:
        DataError: If a file cannot be.
        BackendError: If a picture cannot be drawn.
    """
    output_file.check(output, (".json", ".csv"), "--output")
    output_file.check(plot, (".png", ".pdf", ".svg"), "--plot")
    if plot is not None:
        require_plots()


def run(
    scorer: Scorer,
    source: str,
    data: str,
    part: tuple[float, int, int | None],
    names: tuple[str, ...],
    batch_size: int,
    output: str | None,
    plot: str | None,
) -> None:
    """Evaluates, prints and writes.

    Args:
        scorer: What is evaluated.
        source: Its file.
        data: On what.
        part: Validation split, its seed, and how many images at most.
        names: Of the classes, that the user gave.
        batch_size: Images in a batch.
        output: File for the figures.
        plot: File for the picture.
    """
    x, y, names = _read(scorer, data, part, names)
    with Progress(
        console=progress, transient=True, disable=not progress.is_terminal
    ) as bar:
        task = bar.add_task("Evaluating", total=len(x))
        logs, tally = scorer.evaluate(
            x, y, batch_size, lambda done: bar.update(task, completed=done)
        )
    metrics = {n: logs[n] for n in sorted(logs, key=lambda n: n != "loss")}
    if tally is not None:
        known = tally.metrics()
        if "loss" in metrics:
            known.pop("crossentropy", None)
        metrics = metrics | {k: v for k, v in known.items() if k not in logs}
    report = Report(
        None if tally is None else tally.confusion, names, metrics, len(x)
    )
    tell(reports.text(report))
    if output is not None:
        content = (
            reports.to_json(report, {"model": source, "data": data})
            if output.lower().endswith(".json")
            else reports.to_csv(report)
        )
        with output_file.draft(output) as path:
            path.write_text(content, "utf-8")
        tell(f"\nWrote {output}")
    if plot is not None:
        with output_file.draft(plot) as path:
            plot_confusion(report, path)
        tell(f"Drew {plot}" if output else f"\nDrew {plot}")


def _read(
    scorer: Scorer,
    data: str,
    part: tuple[float, int, int | None],
    given: tuple[str, ...],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], tuple[str, ...]]:
    """Images, labels, and names of the classes if they are known."""
    split, seed, limit = part
    wanted = class_names(scorer, given)
    found = read_data(data, scorer.shape, split, seed, wanted)
    if split and found.validation is None:
        raise DataError(
            "Expected images that train holds back. Received: none of "
            f"{len(found.train[0]):,} in {data!r} with --validation-split "
            f"{split:g}. Pass --validation-split 0 for all of them, those "
            "that it was trained on included."
        )
    x, y = first(found.validation or found.train, limit)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    names, classes = found.class_names, scorer.classes
    if data in datasets.names() and names != wanted:
        names = names if len(names) == classes else ()
    if classes is None:
        return x, y, ()
    if y.ndim == 2 and y.shape[1] == classes:
        if not ((y.max(axis=1) == 1) & (np.abs(y).sum(axis=1) == 1)).all():
            raise DataError(
                f"Expected class numbers or one-hot rows in {data!r}. "
                "Received: rows of other numbers. Call evaluate of the model "
                "in Python."
            )
        y = y.argmax(axis=1)
    if names and len(names) != classes:
        raise DataError(
            f"Expected {classes} classes, as many as the model tells apart. "
            f"Received: {len(names)} in {data!r} ({', '.join(names[:5])}"
            f"{', ...' * (len(names) > 5)}). Which is which would be a guess: "
            "name all in their order with --class-names or --classes-from."
        )
    return x, y, names
