"""How much the images of each class count in a training."""

import difflib
from collections.abc import Sequence
from typing import Any

import click
import numpy as np

from keras_split.errors import DataError
from keras_split_cli import name_values

_OPTION = "--class-weights"
BALANCED = "balanced"
_Array = np.ndarray[Any, Any]


def sample_weights(
    text: str, labels: _Array, class_names: Sequence[str]
) -> _Array:
    """The weight of each image, as `fit(class_weight=...)` gives it.

    Args:
        text: `"balanced"`, with which each class counts as much as any other
            and an image 1 on average; or `"A=2,B=1"` with names or numbers of
            classes, of which those that are not named count 1.
        labels: Class numbers, shape `(images,)`, or one-hot rows.
        class_names: In the order of the labels; empty if not known.

    Returns:
        Shape `(images,)`, float32.

    Raises:
        click.BadParameter: If it is neither, or a weight is negative.
        DataError: If there is no such class, or images have not one each.
    """
    numbers = _numbers(labels)
    present, counts = np.unique(numbers, return_counts=True)
    weights = np.ones(int(max(present.max() + 1, len(class_names))))
    if text == BALANCED:
        weights[present] = len(numbers) / (len(present) * counts)
        return weights[numbers].astype(np.float32)
    for name, weight in name_values.parse(text, _OPTION):
        if weight is None or weight < 0:
            what = name if weight is None else f"{name}={weight:g}"
            raise click.BadParameter(
                f"Expected {BALANCED}, or CLASS=WEIGHT with a weight of 0 or "
                f"more, between commas. Received: {what!r}.",
                param_hint=repr(_OPTION),
            )
        weights[_number(name, len(weights), class_names)] = weight
    if not weights[present].any():
        raise DataError(
            "Expected a class with images to count. Received: "
            f"{_OPTION} {text!r}, with which none does. Give one a weight "
            "above 0."
        )
    return weights[numbers].astype(np.float32)


def _numbers(labels: _Array) -> _Array:
    """Class numbers, shape `(images,)`."""
    rows: _Array = labels.reshape(len(labels), -1)
    if rows.shape[1] > 1 and set(np.unique(rows)) == {0, 1}:
        if (rows.sum(axis=1) == 1).all():
            rows = rows.argmax(axis=1)[:, np.newaxis]
    whole = rows.shape[1] == 1 and (rows == np.floor(rows)).all()
    if not whole or rows.min() < 0:
        raise DataError(
            f"Expected one class an image for {_OPTION}. Received: labels "
            f"{labels.dtype} of shape {labels.shape}. Leave it out."
        )
    numbers: _Array = rows[:, 0].astype(np.int64)
    return numbers


def _number(name: str, classes: int, class_names: Sequence[str]) -> int:
    """The number of a class that is called by its name or its number."""
    if name in class_names:
        return list(class_names).index(name)
    if name.isdecimal() and int(name) < classes:
        return int(name)
    known = list(class_names) or [str(n) for n in range(classes)]
    near = difflib.get_close_matches(name, known, 1, 0.0)[0]
    raise DataError(
        f"Expected one of the {len(known)} classes in {_OPTION}. Received: "
        f"{name!r}. The nearest is {near!r}."
    )
