"""`keras-split predict`: what a model says of images."""

import csv
import io
import json
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import TypeVar

import click
import numpy as np
from rich.progress import Progress

from keras_split import datasets
from keras_split.datasets import class_list
from keras_split.errors import DataError
from keras_split.evaluation import SCORE
from keras_split.evaluation import by_class
from keras_split.evaluation.meaning import check_finite
from keras_split.utils.counted import counted
from keras_split.utils.plain import plain
from keras_split_cli import output_file
from keras_split_cli import photo_list
from keras_split_cli import reports
from keras_split_cli.connection import Connection
from keras_split_cli.connection import server_option
from keras_split_cli.console import progress
from keras_split_cli.console import tell
from keras_split_cli.imports import import_option
from keras_split_cli.photo_list import Photo
from keras_split_cli.scorers import Scorer
from keras_split_cli.scorers import class_names
from keras_split_cli.scorers import load_state
from keras_split_cli.scorers import opened
from keras_split_cli.sections import CONNECTION
from keras_split_cli.sections import SectionedCommand

_F = TypeVar("_F", bound=Callable[..., Any])
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Predictions:
    """What a model said of images.

    Attributes:
        files: Of the images.
        meaning: What its numbers are: `"probability"` or `"score"`; `"value"`
            where it tells no classes apart.
        rows: For each image, classes and their numbers, the best first;
            without a class where it tells none apart.
    """

    files: list[str]
    meaning: str
    rows: list[list[tuple[str, float]]]

    def text(self) -> str:
        """A line an image."""
        titles = ["file", *self._titles()]
        lines = [titles] + [
            [plain(file)]
            + [
                cell
                for name, number in row
                for cell in ([plain(name)] if name else []) + [f"{number:.4f}"]
            ]
            for file, row in zip(self.files, self.rows, strict=True)
        ]
        return reports.columns(lines, left=2 if self._named else 1)

    def to_csv(self) -> str:
        """A row an image."""
        file = io.StringIO()
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", *self._titles()])
        for name, row in zip(self.files, self.rows, strict=True):
            cells = [c for pair in row for c in (pair if pair[0] else pair[1:])]
            rows.writerow([name, *cells])
        return file.getvalue()

    def to_json(self) -> str:
        """An object an image; `top` has the classes, the best first."""
        made: list[dict[str, Any]] = []
        for file, row in zip(self.files, self.rows, strict=True):
            if not self._named:
                made.append({"file": file, self.meaning: row[0][1]})
                continue
            top = [{"class": n, self.meaning: value} for n, value in row]
            made.append({"file": file, **top[0], "top": top})
        return json.dumps(made, indent=1) + "\n"

    @property
    def _named(self) -> bool:
        return bool(self.rows[0][0][0])

    def _titles(self) -> list[str]:
        if not self._named:
            return [self.meaning]
        titles = []
        for place in range(1, len(self.rows[0]) + 1):
            behind = "" if place == 1 else f"_{place}"
            titles += [f"class{behind}", f"{self.meaning}{behind}"]
        return titles


STATE = click.option(
    "--state",
    type=click.Path(dir_okay=False),
    help="Of a client.tflite: predict with what device train wrote to this "
    ".npz file; the server's half stays as it is.",
)


def prediction_options(function: _F) -> _F:
    """Adds what is said of each image, and where."""
    for option in reversed(
        [
            click.option(
                "--top",
                type=click.IntRange(min=1),
                default=1,
                show_default=True,
                metavar="K",
                help="Say the K likeliest classes.",
            ),
            click.option(
                "--format",
                "form",
                type=click.Choice(["table", "csv", "json"]),
                default="table",
                show_default=True,
                help="How they are printed.",
            ),
            click.option(
                "--output",
                type=click.Path(dir_okay=False),
                metavar="FILE.csv|FILE.json",
                help="Write them to this file instead.",
            ),
            click.option(
                "--batch-size",
                type=click.IntRange(min=1),
                default=32,
                show_default=True,
                help="Images that are read at a time.",
            ),
            click.option(
                "--class-names",
                "names",
                metavar="A,B,C",
                help="All classes in the order of their labels, where the "
                "model does not name them.",
            ),
            click.option(
                "--classes-from",
                metavar="FILE",
                help="The same from a client.keras, a client.json or a text "
                "file with one name a line.",
            ),
        ]
    ):
        function = option(function)
    return function


_SECTIONS = {
    "What matters first": ("server", "top", "form", "output"),
    "The model": ("state", "names", "classes_from", "batch_size", "modules"),
    "Reaching the server": CONNECTION,
}


@click.command(cls=SectionedCommand, sections=_SECTIONS)
@click.argument("source", metavar="MODEL")
@import_option
@click.argument("images", nargs=-1, required=True)
@server_option(required=False, otherwise="A whole model needs none.")
@STATE
@prediction_options
def predict(
    source: str,
    images: tuple[str, ...],
    server: str | None,
    state: str | None,
    top: int,
    form: str,
    output: str | None,
    batch_size: int,
    names: str | None,
    classes_from: str | None,
    **connection: Any,
) -> None:
    """Say what a model takes images for.

    MODEL is a client.keras or a phone's client.tflite, whose server runs at
    --server; or a whole model, .keras or .tflite, that keras-split join
    wrote. IMAGES are files, folders (those in them, too) and .npz.

    \b
    keras-split predict whole.tflite photo.jpg
    keras-split predict client.keras photos/ --server 127.0.0.1:50051 \\
        --top 3 --output predictions.csv

    An image that cannot be read is named and passed over; the exit code is 1
    then. Needs TensorFlow for .keras alone.
    """  # noqa: D301 (\b is click's, for lines as they are)
    output_file.check(output, (".csv", ".json"), "--output")
    photos = photo_list.find(images)
    reached = Connection.take(server, connection)
    with opened(source, reached) as scorer:
        load_state(scorer, state, body=False)
        run(
            scorer,
            photos,
            top,
            form,
            output,
            batch_size,
            given_names(names, classes_from),
        )


def given_names(text: str | None, path: str | None) -> tuple[str, ...]:
    """Names of the classes from the command line; none if it has none.

    Raises:
        click.UsageError: If they are given in both ways.
        DataError: If they are none.
    """
    if text is not None and path is not None:
        raise click.UsageError(
            "Expected --class-names or --classes-from. Received: both. A "
            "class has one number."
        )
    if path is not None:
        return datasets.read_class_names(path)
    given = [] if text is None else text.split(",")
    return class_list.check_class_names([name.strip() for name in given])


def run(
    scorer: Scorer,
    photos: Sequence[Photo],
    top: int,
    form: str,
    output: str | None,
    batch_size: int,
    given: tuple[str, ...],
) -> None:
    """Predicts, prints or writes; says so if images could not be read.

    Args:
        scorer: What predicts.
        photos: The images.
        top: How many classes of each are said.
        form: `"table"`, `"csv"` or `"json"`.
        output: A file, to which they are written instead.
        batch_size: Images that are read at a time.
        given: Names of the classes, where the model has none.

    Raises:
        DataError: If some could not be read; after the others were printed.
    """
    names = class_names(scorer, given)
    files, outputs, unread = _predict(scorer, photos, batch_size)
    if files:
        made = _named(scorer, files, np.concatenate(outputs), top, names)
        if output is not None:
            form = output.lower().rpartition(".")[2]
        content = {
            "table": made.text,
            "csv": made.to_csv,
            "json": made.to_json,
        }[form]()
        if output is None:
            click.echo(content.rstrip("\n"))
        else:
            with output_file.draft(output) as path:
                path.write_text(content, "utf-8", "backslashreplace")
            tell(f"Wrote {counted(len(files), 'prediction')} to {output}")
    if unread:
        raise DataError(
            f"Expected images that can be read. Received: {unread:,} of "
            f"{len(photos):,} that cannot, named above and passed over."
        )


def _predict(
    scorer: Scorer, photos: Sequence[Photo], batch_size: int
) -> tuple[list[str], list[_Array], int]:
    """Names and outputs of the images that can be read, and how many cannot."""
    files: list[str] = []
    outputs: list[_Array] = []
    unread = 0
    with Progress(
        console=progress, transient=True, disable=not progress.is_terminal
    ) as bar:
        task = bar.add_task("Predicting", total=len(photos))
        for start in range(0, len(photos), batch_size):
            pixels = []
            for photo in photos[start : start + batch_size]:
                try:
                    pixels.append(photo.read(scorer.shape))
                    files.append(photo.name)
                except DataError as error:
                    unread += 1
                    bar.console.print(
                        f"Passed over: {plain(str(error), 500)}",
                        markup=False,
                        soft_wrap=True,
                    )
            if pixels:
                outputs.append(scorer.predict(np.stack(pixels)))
            bar.update(task, completed=start + batch_size)
    return files, outputs, unread


def _named(
    scorer: Scorer,
    files: list[str],
    outputs: _Array,
    top: int,
    names: tuple[str, ...],
) -> Predictions:
    if scorer.classes is None and outputs.size == len(outputs):
        numbers = outputs.reshape(len(outputs), 1)
        check_finite(numbers)
        rows = [[("", float(number))] for (number,) in numbers]
        return Predictions(files, "value", rows)
    values, meaning = by_class(outputs, scorer.meaning)
    classes = values.shape[1]
    names = names or tuple(map(str, range(classes)))
    best = np.argsort(-values, axis=1, kind="stable")[:, :top]
    assert meaning in ("probability", SCORE)
    return Predictions(
        files,
        meaning,
        [
            [(names[i], float(row[i])) for i in order]
            for row, order in zip(values, best, strict=True)
        ],
    )
