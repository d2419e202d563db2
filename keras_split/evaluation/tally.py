"""Counts right and wrong answers, batch by batch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_split.errors import DataError
from keras_split.evaluation.meaning import SCORE
from keras_split.evaluation.meaning import UNKNOWN
from keras_split.evaluation.meaning import by_class

_LEAST = 1e-7  # keras.config.epsilon(), where Keras clips probabilities


class Tally:
    """What a model said of images whose class is known.

    Args:
        classes: How many there are.
        meaning: Of the outputs; see `by_class`.

    Attributes:
        confusion: Shape `(classes, classes)`, int64: how often an image of
            the class of the row was taken for that of the column.

    Example:
    >>> tally = Tally(2)
    >>> tally.add(np.array([0, 1, 1]), np.array([[9, 1], [2, 8], [6, 4]]))
    >>> tally.confusion
    array([[1, 0],
           [1, 1]])
    """

    def __init__(self, classes: int, meaning: str = UNKNOWN) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)
        self._meaning = meaning
        self._crossentropy = 0.0

    @property
    def images(self) -> int:
        """How many were counted."""
        return int(self.confusion.sum())

    def add(self, labels: NDArray[Any], outputs: NDArray[Any]) -> None:
        """Counts a batch.

        Args:
            labels: Class numbers, shape `(images,)`.
            outputs: What the model made of the images; see `by_class`.

        Raises:
            DataError: If a label is no class, or outputs are not as many.
        """
        classes = len(self.confusion)
        values, meaning = by_class(outputs, self._meaning)
        labels = np.asarray(labels)
        if values.shape != (len(labels), classes):
            raise DataError(
                f"Expected {classes} numbers for each of {len(labels)} "
                f"images. Received: outputs of shape {np.shape(outputs)}."
            )
        check_labels(labels, classes)
        labels = labels.astype(np.int64)
        places = labels * classes + values.argmax(axis=1)
        counts = np.bincount(places, minlength=classes * classes)
        self.confusion += counts.reshape(classes, classes)
        if meaning == SCORE:
            self._crossentropy = float("nan")
        right = values[np.arange(len(labels)), labels]
        logs = np.log(np.clip(right, _LEAST, 1.0 - _LEAST))
        self._crossentropy -= float(logs.sum())

    def metrics(self) -> dict[str, float]:
        """`accuracy`, and `crossentropy` if the outputs are probabilities.

        The latter is what Keras' `sparse_categorical_crossentropy` says, to
        the rounding of float32.
        """
        images = self.images
        if not images:
            return {}
        metrics = {"accuracy": float(np.trace(self.confusion)) / images}
        if self._meaning != SCORE and np.isfinite(self._crossentropy):
            metrics["crossentropy"] = self._crossentropy / images
        return metrics


def check_labels(labels: NDArray[Any], classes: int) -> None:
    """Refuses labels that are no class numbers.

    Raises:
        DataError: If one is not.
    """
    whole = labels.ndim == 1 and labels.dtype.kind in "buif"
    if not whole or (labels != np.floor(labels)).any():
        raise DataError(
            "Expected a class number for each image. Received: labels of "
            f"{labels.dtype} and shape {labels.shape}. One-hot rows become "
            "numbers with y.argmax(axis=1)."
        )
    if len(labels) and (labels.min() < 0 or labels.max() >= classes):
        wrong = labels.max() if labels.max() >= classes else labels.min()
        raise DataError(
            f"Expected labels from 0 to {classes - 1}, as the network has "
            f"{classes} classes. Received: {int(wrong)}. Leave these images "
            "out, or take the model that knows them."
        )
