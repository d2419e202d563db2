"""What crossed, as one row of numbers for each example."""

from collections.abc import Collection
from typing import Any

import numpy as np

from keras_split.audit.seen import Seen
from keras_split.errors import DataError
from keras_split.errors import OptionError

_Array = np.ndarray[Any, Any]

# What an attack may read, and how a report calls it.
WORDS = {
    "smashed": "smashed data",
    "features": "features",
    "features_grad": "features gradients",
}


def check_of(of: str) -> str:
    """`of`, if it is something that an attack may read.

    Raises:
        OptionError: If not.
    """
    if of not in WORDS:
        raise OptionError(
            f"Expected of to be one of {', '.join(WORDS)}. Received: "
            f"of={of!r}. The server sees nothing else of a step that it did "
            "not compute from these."
        )
    return of


def rows(seen: Collection[Seen], of: str) -> _Array:
    """What crossed in some steps, as one row for each example.

    Args:
        seen: The steps.
        of: One of `WORDS`. Several tensors at one cut lie side by side.

    Returns:
        Shape `(examples, numbers)`, float32.

    Raises:
        DataError: If there is no step, or a number is not finite.
    """
    if not seen:
        raise DataError(
            "Expected the steps to look at. Received: none. Train on more "
            "examples than one batch has."
        )
    batches = [
        np.hstack([part.reshape(len(part), -1) for part in getattr(step, of)])
        for step in seen
    ]
    values = np.concatenate(batches).astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise DataError(
            f"Expected {WORDS[of]} of finite numbers. Received: infinite or "
            "undefined ones. The training diverged: take a lower learning "
            "rate."
        )
    return values


def unit(values: _Array) -> _Array:
    """Rows of length 1; a row of zeros stays as it is."""
    # In float64: the square of a gradient of 1e-25 is none in float32.
    values = values.astype(np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    units: _Array = np.zeros_like(values)
    np.divide(values, lengths, out=units, where=lengths > 0)
    return units
