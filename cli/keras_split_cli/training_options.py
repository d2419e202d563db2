"""Options of a training that Keras and LiteRT have in common."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

import click

from keras_split.errors import DataError
from keras_split_cli.class_weights import ClassWeightsType
from keras_split_cli.console import tell
from keras_split_cli.data import Data
from keras_split_cli.data import check_classes
from keras_split_cli.data import read_data
from keras_split_cli.parts import part_of
from keras_split_cli.parts import part_options

_F = TypeVar("_F", bound=Callable[..., Any])


def training_options(function: _F) -> _F:
    """Adds `--validation-data`, `--class-weights` and `--early-stopping`.

    And those of `part_options`, which reach `read_all` without help.
    """
    function = part_options(function)
    for option in reversed(
        [
            click.option(
                "--validation-data",
                metavar="FOLDER|FILE.npz|NAME",
                help="Images to validate with, in place of a share of those "
                "of --data.",
            ),
            click.option(
                "--class-weights",
                type=ClassWeightsType(),
                metavar="balanced|CLASS=WEIGHT,...",
                help="How much the images of a class count: balanced, where "
                "some classes have fewer; or by name or number, such as "
                "cat=2,dog=0.5.",
            ),
            click.option(
                "--detect-hijack",
                is_flag=True,
                help="Check now and then whether the server's gradients are "
                "those of its features, and stop if they are not.",
            ),
            click.option(
                "--early-stopping",
                type=click.IntRange(min=1),
                is_flag=False,
                flag_value=3,
                metavar="[EPOCHS]",
                help="Stop when the validation loss has not fallen for so "
                "many epochs, 3 unless given. Both halves go back to the best "
                "one.",
            ),
        ]
    ):
        function = option(function)
    return function


def read_all(
    data: str,
    validation_data: str | None,
    shape: tuple[int, ...],
    validation_split: float,
    seed: int,
    class_names: Sequence[str] = (),
) -> Data:
    """Images to train on and images to validate with.

    Of those to train on the part that `--part` and `--only-classes` ask for;
    all phones validate with the same.

    Args:
        data: As `read_data` takes it.
        validation_data: Likewise; None for a share of `data`.
        shape: Height, width and channels to read files at.
        validation_split: The share to hold back.
        seed: Decides which.
        class_names: In the order of the labels, where they are known already.

    Raises:
        DataError: If there is nothing to train on, or one class alone; or a
            class to validate with is none of those to train on.
    """
    if not class_names:
        check_classes(data)
    if validation_data is None:
        return part_of(
            read_data(data, shape, validation_split, seed, class_names)
        )
    found = read_data(data, shape, 0.0, seed, class_names)
    held_back = read_data(validation_data, shape, 0.0, seed, found.class_names)
    pair = held_back.validation or held_back.train
    return part_of(found._replace(validation=pair))


def forgets(option: str) -> str:
    """What is said first of a training that is written nowhere.

    Args:
        option: That would write it.
    """
    return (
        f"What the phone's half learns is gone at the end: {option} keeps it."
    )


def no_validation() -> DataError:
    """The error of `--early-stopping` without images to validate with."""
    return DataError(
        "Expected images to validate with for --early-stopping. Received: "
        "none. Pass --validation-data, or a --validation-split above 0."
    )


def tell_best(epoch: int | None, stopped: bool) -> None:
    """Prints which epoch stays.

    Args:
        epoch: Its number, from 1; None if no loss was a number.
        stopped: Whether the training ended early.
    """
    before = "Stopped early. " if stopped else ""
    if epoch is None:
        tell(f"{before}No validation loss was a number: no epoch is the best.")
    else:
        tell(f"{before}Both halves are those of epoch {epoch}, the best.")
