"""Examples of a phone that wait for the steps that they are drawn for."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.errors import OptionError

_Array = np.ndarray[Any, Any]


class Rows:
    """Batches of any structure, from which any number of examples is taken.

    All batches have one structure: `x`, `(x, y)`, `(x, y, sample_weight)`,
    and of each any nesting. The first axis of every tensor counts examples.
    """

    def __init__(self) -> None:
        self._batches: list[list[Any]] = []
        self._pack: Callable[[list[Any]], Any] = list
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, data: Any) -> int:
        """Puts a batch behind the others.

        Returns:
            How many examples are in it.

        Raises:
            OptionError: If it has ragged or sparse tensors.
        """
        leaves = [_leaf(leaf) for leaf in keras.tree.flatten(data)]
        self._pack = lambda flat: keras.tree.pack_sequence_as(data, flat)
        self._batches.append(leaves)
        count = _rows_of(leaves)
        self._count += count
        return count

    def take(self, count: int) -> Any:
        """The next examples, as a batch; fewer if there are no more."""
        found: list[list[Any]] = []
        left = count = min(count, self._count)
        while left:
            batch = self._batches[0]
            rows = min(left, _rows_of(batch))
            found.append(_cut(batch, slice(0, rows)))
            if rows < _rows_of(batch):
                self._batches[0] = _cut(batch, slice(rows, None))
            else:
                self._batches.pop(0)
            left -= rows
        self._count -= count
        columns = zip(*found, strict=True)
        return self._pack([_together(leaves) for leaves in columns])

    def put_back(self, data: Any) -> None:
        """Puts what was taken in front again."""
        leaves = [_leaf(leaf) for leaf in keras.tree.flatten(data)]
        self._batches.insert(0, leaves)
        self._count += _rows_of(leaves)

    def clear(self) -> None:
        """Forgets all of them."""
        self._batches.clear()
        self._count = 0


def rows_of(data: Any) -> int:
    """How many examples are in a batch."""
    return _rows_of(keras.tree.flatten(data))


def _rows_of(leaves: list[Any]) -> int:
    return next(int(leaf.shape[0]) for leaf in leaves if _has_rows(leaf))


def _has_rows(leaf: Any) -> bool:
    return bool(len(getattr(leaf, "shape", ())))


def _leaf(leaf: Any) -> Any:
    """An array, or None for what Keras puts into a batch as an Optional."""
    if leaf is None or isinstance(leaf, tf.experimental.Optional):
        return None
    if isinstance(leaf, tf.RaggedTensor | tf.SparseTensor):
        raise OptionError(
            "Expected dense tensors, of which a phone gives the server's share "
            f"of a step. Received: a {type(leaf).__name__}. Make it dense "
            "(to_tensor, tf.sparse.to_dense), or have a cohort of another "
            "mode than merged."
        )
    return np.asarray(leaf)


def _cut(leaves: list[Any], rows: slice) -> list[Any]:
    return [leaf[rows] if _has_rows(leaf) else leaf for leaf in leaves]


def _together(leaves: tuple[Any, ...]) -> Any:
    first = leaves[0]
    if not _has_rows(first):
        return first
    whole = first if len(leaves) == 1 else np.concatenate(leaves)
    return tf.constant(whole)
