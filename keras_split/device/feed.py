"""What a user gives `fit`, `evaluate` and `predict`, as a step takes it."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_split import datasets
from keras_split.device.description import Description
from keras_split.errors import DataError
from keras_split.protocol import validation
from keras_split.utils.counted import counted

Batches = Iterable[Any] | Callable[[], Iterable[Any]]
Rate = float | Callable[[int], float]


def each(batches: Batches, where: str) -> Iterator[Any]:
    """What `batches` gives, once through.

    Raises:
        DataError: If that is nothing.
    """
    empty = True
    for item in batches() if callable(batches) else batches:
        empty = False
        yield item
    if empty:
        raise no_batch(where)


def labeled(item: Any) -> tuple[Any, ...]:
    """`(x, y)` or `(x, y, sample_weight)`.

    Raises:
        DataError: If it is anything else.
    """
    if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
        came = (
            counted(len(item), "value")
            if isinstance(item, (tuple, list))
            else type(item).__name__
        )
        raise DataError(
            "Expected batches of (x, y) or (x, y, sample_weight). Received: "
            f"{came}. For arrays pass keras_split.device.batches(x, y, "
            "client.batch_size)."
        )
    return tuple(item)


def examples(x: Any, description: Description) -> Iterator[Any]:
    """Batches of inputs, from arrays or from batches."""
    names = [spec.name for spec in description.inputs]
    several = (
        isinstance(x, (list, tuple))
        and len(x) == len(names)
        and all(isinstance(value, np.ndarray) for value in x)
    )
    if not isinstance(x, (np.ndarray, dict)) and not several:
        for item in each(x, "predict"):
            yield item[0] if isinstance(item, tuple) else item
        return
    if isinstance(x, np.ndarray):
        arrays = [x]
    elif isinstance(x, dict):
        arrays = [np.asarray(x[name]) for name in names if name in x]
    else:
        arrays = list(x)
    if not arrays or any(not a.ndim for a in arrays):
        yield x  # Batch says what is wrong with it
        return
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:  # each of their batches might fit
        raise DataError(
            "Expected the same number of examples in all inputs. Received: "
            f"{sorted(lengths)}. Look at the first axis of each array."
        )
    size = description.batch_size
    for start in range(0, len(arrays[0]), size):
        rows = slice(start, start + size)
        if isinstance(x, dict):
            yield {name: np.asarray(x[name])[rows] for name in x}
        else:
            yield [a[rows] for a in arrays]


def rate(given: Rate | None, step: int, description: Description) -> float:
    """The learning rate of a step.

    Args:
        given: A number, or a function of the step; None for that of the
            export.
        step: Number of the step.
        description: Of the file.

    Raises:
        ProtocolError: If it is none.
    """
    if given is None:
        given = description.learning_rate
    elif callable(given):
        given = given(step)
    made = float(given)
    validation.check_learning_rate(made)
    return made


def to_model_input(
    images: Any, description: Description
) -> np.ndarray[Any, Any]:
    """Images of any size as the model takes them; see `Client.preprocess`."""
    shape = description.inputs[0].shape
    scale = description.data_spec.scale_in_place
    return datasets.to_model_input(images, shape, scale)


def no_batch(where: str) -> DataError:
    """The error of a call that was given no batch."""
    return DataError(
        f"Expected at least one batch in {where}. Received: none. A generator "
        "is used up after one epoch: give a list, keras_split.device."
        "batches(...) or a function that returns a new iterator."
    )
