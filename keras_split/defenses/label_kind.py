"""How the labels of a loss are read as classes."""

import enum
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_split.errors import DefenseError


class LabelKind(enum.Enum):
    """What a loss takes for labels: one class for an example."""

    SPARSE = "sparse_categorical_crossentropy"
    CATEGORICAL = "categorical_crossentropy"
    BINARY = "binary_crossentropy"

    @classmethod
    def of(cls, loss: Any, prediction: Sequence[int | None]) -> "LabelKind":
        """Of a loss and the shape of what it judges, without the batch.

        Raises:
            DefenseError: If an example has no class, or several labels.
        """
        name = _name(loss)
        kinds = {kind.value: kind for kind in cls}
        if name not in kinds:
            raise DefenseError(
                "Expected a crossentropy of Keras, sparse, categorical or "
                "binary, whose labels are classes that can be drawn. "
                f"Received: loss={loss!r}. Train with one of those, or leave "
                "the defense of labels out."
            )
        kind = kinds[name]
        width = prediction[0] if len(prediction) == 1 else None
        if width is None or (width == 1) != (kind is cls.BINARY):
            raise DefenseError(
                "Expected one label for an example: predictions of as many "
                "values as there are classes, of one for a binary "
                f"crossentropy. Received: shape {tuple(prediction)} with "
                f"{name}. A defense of labels cannot count what several "
                "labels of one example tell: leave it out."
            )
        return kind

    def classes(self, prediction: Sequence[int]) -> int:
        """How many there are."""
        return 2 if self is LabelKind.BINARY else int(prediction[0])

    def one_hot(self, labels: tf.Tensor, classes: int) -> tf.Tensor:
        """Labels as float32, shape `(batch, classes)`."""
        if self is LabelKind.CATEGORICAL:
            return tf.ensure_shape(tf.cast(labels, tf.float32), (None, classes))
        numbers = labels
        if self is LabelKind.BINARY:
            numbers = tf.cast(labels, tf.float32) > 0.5
        numbers = tf.reshape(tf.cast(numbers, tf.int32), (-1,))
        return tf.one_hot(numbers, classes)

    def back(self, one_hot: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """What the loss takes, of the shape and dtype of `labels`.

        Class numbers that there are not stay, for the loss to tell.
        """
        if self is LabelKind.CATEGORICAL:
            return tf.cast(one_hot, labels.dtype)
        numbers = tf.argmax(one_hot, 1, output_type=tf.int32)
        numbers = tf.reshape(tf.cast(numbers, labels.dtype), tf.shape(labels))
        if self is LabelKind.BINARY:
            return numbers
        known = tf.reshape(tf.reduce_max(one_hot, 1) > 0, tf.shape(labels))
        return tf.where(known, numbers, labels)


def _name(loss: Any) -> str:
    """What Keras calls a loss as a function; empty for one that is not its."""
    try:
        found = keras.losses.get(loss)
    except (TypeError, ValueError):
        return ""
    for kind in LabelKind:
        function = getattr(keras.losses, kind.value)
        name = kind.value.replace("_", "")
        # A class of one's own that is made from one of these is its own.
        if found is function or (
            type(found).__name__.lower() == name
            and getattr(keras.losses, type(found).__name__, None) is type(found)
            and getattr(found, "ignore_class", None) is None
        ):
            return kind.value
    return ""
