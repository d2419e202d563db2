"""How much the images of each class count in a training."""

import difflib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import click
import numpy as np

from keras_split.errors import DataError
from keras_split_cli import name_values

_OPTION = "--class-weights"
BALANCED = "balanced"
_Array = np.ndarray[Any, Any]


class ClassWeightsType(click.ParamType):  # type: ignore[type-arg]
    """Reads `balanced` or `A=2,B=1`, before images are read."""

    name = "weights"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """`"balanced"`, or a weight for each class that is named."""
        if not isinstance(value, str):
            return value
        if value.strip() == BALANCED:
            return BALANCED
        found = name_values.parse(value)
        for name, weight in found:
            if weight is None or weight < 0:
                what = name if weight is None else f"{name}={weight:g}"
                self.fail(
                    f"Expected {BALANCED}, or CLASS=WEIGHT with a weight of 0 "
                    f"or more, between commas. Received: {what!r}.",
                    param,
                    ctx,
                )
        return dict(found)


def sample_weights(
    weights: str | Mapping[str, float],
    labels: _Array,
    class_names: Sequence[str],
) -> _Array:
    """The weight of each image, as `fit(class_weight=...)` gives it.

    Args:
        weights: What `ClassWeightsType` read: `"balanced"`, with which each
            class counts as much as any other and an image 1 on average; or
            weights by name or number, where the other classes count 1.
        labels: Class numbers, shape `(images,)`, or one-hot rows.
        class_names: In the order of the labels; empty if not known.

    Returns:
        Shape `(images,)`, float32.

    Raises:
        DataError: If there is no such class, images have not one each, or
            none counts.
    """
    numbers = numbers_of(labels)
    present, counts = np.unique(numbers, return_counts=True)
    each = np.ones(int(max(present.max() + 1, len(class_names))))
    if isinstance(weights, str):
        each[present] = len(numbers) / (len(present) * counts)
        return each[numbers].astype(np.float32)
    for name, weight in weights.items():
        each[number_of(name, len(each), class_names)] = weight
    if not each[present].any():
        raise DataError(
            "Expected a class with images to count. Received: weights of 0 "
            f"for all of them in {_OPTION}. Give one a weight above 0."
        )
    return each[numbers].astype(np.float32)


def numbers_of(labels: _Array, option: str = _OPTION) -> _Array:
    """Class numbers, shape `(images,)`.

    Args:
        labels: Class numbers, or one-hot rows.
        option: What they are for.

    Raises:
        DataError: If images have not one class each.
    """
    rows: _Array = labels.reshape(len(labels), -1)
    if rows.shape[1] > 1 and set(np.unique(rows)) == {0, 1}:
        if (rows.sum(axis=1) == 1).all():
            rows = rows.argmax(axis=1)[:, np.newaxis]
    whole = rows.shape[1] == 1 and (rows == np.floor(rows)).all()
    if not whole or rows.min() < 0:
        raise DataError(
            f"Expected one class an image for {option}. Received: labels "
            f"{labels.dtype} of shape {labels.shape}. Leave it out."
        )
    numbers: _Array = rows[:, 0].astype(np.int64)
    return numbers


def number_of(
    name: str, classes: int, class_names: Sequence[str], option: str = _OPTION
) -> int:
    """The number of a class that is called by its name or its number.

    Args:
        name: As the user gave it.
        classes: How many there are.
        class_names: In the order of the labels; empty if not known.
        option: Where the user gave it.

    Raises:
        DataError: If there is no such class.
    """
    if name in class_names:
        return list(class_names).index(name)
    if name.isdecimal() and int(name) < classes:
        return int(name)
    known = list(class_names) or [str(n) for n in range(classes)]
    near = difflib.get_close_matches(name, known, 1, 0.0)[0]
    raise DataError(
        f"Expected one of the {len(known)} classes in {option}. Received: "
        f"{name!r}. The nearest is {near!r}."
    )
