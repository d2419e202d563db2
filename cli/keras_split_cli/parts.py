"""The part of a data set that one phone has, where several share it."""

from collections.abc import Callable
from typing import Any
from typing import TypeVar

import click
import numpy as np

from keras_split import datasets
from keras_split.errors import DataError
from keras_split.utils.counted import counted
from keras_split_cli.class_weights import number_of
from keras_split_cli.class_weights import numbers_of
from keras_split_cli.console import tell
from keras_split_cli.data import Data
from keras_split_cli.data import keep
from keras_split_cli.data import kept

_F = TypeVar("_F", bound=Callable[..., Any])
_ONLY = "--only-classes"


class PartType(click.ParamType):  # type: ignore[type-arg]
    """Reads `I/N`."""

    name = "part"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Number and count, of which the first is 1 or more."""
        if not isinstance(value, str):
            return value
        number, _, count = value.partition("/")
        if (
            number.isdecimal()
            and count.isdecimal()
            and 1 <= int(number) <= int(count)
        ):
            return int(number), int(count)
        self.fail(
            "Expected I/N, such as 1/3 for the first of three parts. "
            f"Received: {value!r}.",
            param,
            ctx,
        )


def part_options(function: _F) -> _F:
    """Adds `--part` and `--only-classes`, for `part_of`."""
    for option in reversed(
        [
            click.option(
                "--part",
                type=PartType(),
                callback=keep,
                expose_value=False,
                metavar="I/N",
                help="Train on one of N parts of the images alone: phone 1 "
                "has 1/3, phone 2 has 2/3. No image is in two of them, if all "
                "have the same --seed and --validation-split.",
            ),
            click.option(
                _ONLY,
                callback=keep,
                expose_value=False,
                metavar="CLASS,...",
                help="Train on images of these classes alone, by name or "
                "number.",
            ),
        ]
    ):
        function = option(function)
    return function


def part_of(data: Data) -> Data:
    """The images to train on that are this phone's, as options say.

    Raises:
        DataError: If there is no such class, or nothing is left.
    """
    x, y = data.train
    rows = np.arange(len(x))
    classes, part = kept("only_classes"), kept("part")
    if classes is not None:
        names = [name.strip() for name in classes.split(",")]
        wanted = [
            number_of(name, data.classes, data.class_names, _ONLY)
            for name in names
        ]
        rows = rows[np.isin(numbers_of(y, _ONLY), wanted)]
    if part is not None:
        number, count = part
        # A seed of its own; that of --seed has put the images in order.
        order = np.random.default_rng(0).permutation(len(rows))
        rows = rows[np.sort(order[number - 1 :: count])]
    if len(rows) == len(x):
        return data
    if not len(rows):
        raise DataError(
            "Expected images to train on in this phone's part. Received: "
            f"none of {len(x):,}. Look at --part and {_ONLY}."
        )
    tell(f"{counted(len(rows), 'image')} of {len(x):,} are this phone's")
    images: Any = x.only(rows) if isinstance(x, datasets.Photos) else x[rows]
    return data._replace(train=(images, y[rows]))
