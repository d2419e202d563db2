"""The images that a command trains on, from wherever `--data` points."""

from collections.abc import Callable
from typing import Any
from typing import TypeVar

import click
import numpy as np
from rich.progress import Progress

from keras_split import datasets
from keras_split_cli.console import progress
from keras_split_cli.console import tell

Pair = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
_F = TypeVar("_F", bound=Callable[..., Any])


def data_options(function: _F) -> _F:
    """Adds `--data` and `--validation-split`, for `read_data`."""
    for option in reversed(
        [
            click.option(
                "--data",
                default="fashion_mnist",
                show_default=True,
                metavar="FOLDER|FILE.npz|NAME",
                help="A folder with one sub-folder of images for each class; "
                "an .npz with x and y; or a built-in data set.",
            ),
            click.option(
                "--validation-split",
                type=click.FloatRange(0, 1, max_open=True),
                default=0.1,
                show_default=True,
                help="Share of the images held back, where the data set "
                "brings none.",
            ),
        ]
    ):
        function = option(function)
    return function


def read_data(
    data: str, shape: tuple[int, ...], validation_split: float, seed: int
) -> tuple[Pair, Pair | None]:
    """Training images and validation images, as uint8 where they come so.

    Args:
        data: A folder, an .npz file or the name of a built-in data set.
        shape: Height, width and channels to read files at.
        validation_split: Share to hold back, where the data brings none.
        seed: Decides which.

    Raises:
        DataError: If there is nothing to train on.
    """
    if data in datasets.names():
        return datasets.load(data)
    if data.endswith(".npz"):
        train, test = datasets.load_npz(data)
        if test is not None:
            return train, test
        order = np.random.default_rng(seed).permutation(len(train[0]))
        held = int(len(order) * validation_split)
        parts = [(train[0][i], train[1][i]) for i in np.split(order, [held])]
        return parts[1], parts[0] if held else None
    with Progress(
        console=progress, transient=True, disable=not progress.is_terminal
    ) as bar:
        task = bar.add_task("Reading images", total=None)
        folder = datasets.load_folder(
            data,
            shape,
            seed,
            validation_split,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    tell(
        f"{len(folder.train[0]):,} training and {len(folder.validation[0]):,} "
        f"validation images of {', '.join(folder.class_names)}"
    )
    held_back = folder.validation if len(folder.validation[0]) else None
    return folder.train, held_back
