"""`--quantization`: how cut-layer tensors are rounded."""

from collections.abc import Callable
from typing import Any
from typing import TypeVar

import click

from keras_split.compression import presets

_F = TypeVar("_F", bound=Callable[..., Any])


def quantization_option(
    meaning: str = "How cut-layer tensors are rounded", *more: str
) -> Callable[[_F], _F]:
    """Adds `--quantization`, whose names stand in the text.

    As the choices of click they would be a line that no terminal has.

    Args:
        meaning: What it decides.
        *more: Names beside those of the presets.
    """
    names = [*presets.names(), *more]
    return click.option(
        "--quantization",
        type=click.Choice(names),
        metavar="NAME",
        default="int8",
        show_default=True,
        help=f"{meaning}: {', '.join(names)}.",
    )
