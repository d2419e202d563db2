"""The form in which a loss wants labels."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.errors import DataError

_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LabelForm:
    """What the labels of one output have to be.

    Attributes:
        loss: Name of the loss, for messages.
        sparse: Whether it takes class numbers; otherwise labels have the
            shape of the output.
        shape: Of the output for one example; None if it is not known, as for
            a model whose output is on the server.
        binary: Whether labels are from 0 to 1.
        ignored: A class number that does not count.
        known: Whether class numbers may be made one-hot rows for it, which a
            loss of one's own may take for something else.
    """

    loss: str
    sparse: bool
    shape: tuple[int | None, ...] | None = None
    binary: bool = False
    ignored: int | None = None
    known: bool = True

    @property
    def classes(self) -> int | None:
        """How many classes labels can name; None if nobody knows."""
        if not self.shape:
            return None
        if self.shape[-1] == 1 and not self.sparse:
            return 2 if self.binary else None
        return self.shape[-1]

    def take(self, labels: _Array, classes: int = 0) -> _Array:
        """Labels in this form.

        Args:
            labels: Class numbers, one-hot rows or other numbers; the first
                axis is that of the examples.
            classes: How many there are in the data, for an output whose shape
                is not known.

        Returns:
            int32 class numbers for a sparse loss, else float32.

        Raises:
            DataError: If they cannot be brought into it.
        """
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if self.sparse:
            if self.shape is not None:
                self._check_shape(labels, self.shape[:-1])
            return self._numbers(labels).astype(np.int32)
        columns = self._columns(classes)
        if labels.ndim > 1 or columns is None:
            if self.shape is not None:
                self._check_shape(labels, self.shape)
            return self._in_range(labels.astype(np.float32))
        if columns == 1:
            return self._in_range(labels.astype(np.float32)[:, np.newaxis])
        if not self.known:
            raise DataError(
                "Expected a loss of Keras, of which it is known in which form "
                f"it wants class numbers. Received: {self.loss}. Give labels "
                "in its form in an .npz, of the shape of the output; or pass "
                "--loss with the name of one of Keras."
            )
        return np.eye(columns, dtype=np.float32)[self._numbers(labels)]

    def _columns(self, classes: int) -> int | None:
        """The numbers in one row of an output; None if it has no rows."""
        if self.shape is None:
            return 1 if self.binary else classes
        return self.shape[0] if len(self.shape) == 1 else None

    def _numbers(self, labels: _Array) -> _Array:
        """Whole numbers, each of a class that there is."""
        whole = labels == np.floor(labels)
        if not whole.all():
            raise DataError(
                f"Expected class numbers for {self.loss}. Received: labels "
                f"such as {labels[~whole].flat[0]:g}. Pass --loss with one "
                "that takes such numbers."
            )
        numbers: _Array = labels.astype(np.int64)
        counted = numbers[numbers != self.ignored]
        low, high = counted.min(initial=0), counted.max(initial=0)
        if low < 0:
            raise DataError(
                f"Expected class numbers of 0 or more for {self.loss}. "
                f"Received: {low}. Number the classes from 0."
            )
        classes = self.classes
        if classes is not None and high >= classes:
            raise DataError(
                f"Expected labels from 0 to {classes - 1}, as the network has "
                f"{classes} classes. Received: {high}. For a preset pass "
                f"--classes {high + 1} here and to the server; otherwise cut "
                f"a network of {high + 1} classes."
            )
        return numbers

    def _in_range(self, labels: _Array) -> _Array:
        if self.binary and (labels.min() < 0 or labels.max() > 1):
            raise DataError(
                f"Expected labels from 0 to 1 for {self.loss}. Received: "
                f"from {labels.min():g} to {labels.max():g}. One number tells "
                "two classes apart; for more the network needs an output for "
                "each."
            )
        return labels

    def _check_shape(
        self, labels: _Array, shape: tuple[int | None, ...]
    ) -> None:
        given = labels.shape[1:]
        if len(given) == len(shape) and all(
            b in (None, a) for a, b in zip(given, shape, strict=True)
        ):
            return
        wanted = ", ".join(["examples", *map(str, shape)])
        advice = "Save them so in the .npz"
        if self.sparse and len(given) == len(shape) + 1:
            advice += ", or pass --loss categorical_crossentropy for these"
        raise DataError(
            f"Expected labels of shape ({wanted}) for {self.loss}. Received: "
            f"shape {labels.shape}. {advice}."
        )
