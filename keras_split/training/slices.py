"""A batch in parts of nearly the same size."""

from typing import Any
from typing import NamedTuple

import keras
import tensorflow as tf


class Slice(NamedTuple):
    """Some examples of a batch, one behind the other.

    Attributes:
        first: Number of the first of them in the batch, or a scalar tensor.
        end: Number of the one behind the last.
        share: Their part of the batch, a scalar.
    """

    first: Any
    end: Any
    share: tf.Tensor

    def of(self, tree: Any) -> Any:
        """What belongs to them, out of a structure of tensors."""
        return keras.tree.map_structure(
            lambda t: t if t is None else t[self.first : self.end], tree
        )


def slices(example: tf.Tensor, count: int) -> list[Slice]:
    """Cuts a batch into `count` parts, whose sizes differ by at most one.

    Args:
        example: A tensor of the batch, shape `(batch, ...)`.
        count: How many, at most the batch.
    """
    size = example.shape[0]
    if size is None:
        size = tf.shape(example)[0]
    ends = [size * i // count for i in range(count + 1)]
    whole = tf.cast(size, tf.float32)
    return [
        Slice(first, end, tf.cast(end - first, tf.float32) / whole)
        for first, end in zip(ends[:-1], ends[1:], strict=True)
    ]
