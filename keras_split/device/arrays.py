"""Arrays as batches, in another order each epoch."""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_split import datasets
from keras_split.errors import DataError


def batches(
    x: Any,
    y: Any,
    batch_size: int,
    seed: int | None = 0,
    *,
    sample_weight: Any = None,
    preprocess: Callable[[Any], Any] | None = None,
) -> "Batches":
    """Cuts arrays into batches for `Client.fit` and `Client.evaluate`.

    Every epoch has an order of its own, which depends on the seed and on the
    number of the epoch alone: a training that is resumed with `epoch` set
    sees the same batches as one that was never stopped.

    Args:
        x: An array of shape `(examples, ...)`, a list or dict of arrays, or
            `keras_split.datasets.Photos`, which are read as they are needed.
        y: Labels of the same examples, likewise.
        batch_size: Examples in a batch; the last one of an epoch may have
            fewer.
        seed: Decides the order; None keeps the examples as they are.
        sample_weight: Shape `(examples,)`, or None.
        preprocess: Applied to the images of each batch, such as
            `client.preprocess`, so that they need not be in memory all at
            once.

    Raises:
        DataError: If the arrays do not have the same number of examples, or
            have none.

    Example:
    >>> data = batches(np.arange(5.0), np.arange(5), 2, seed=None)
    >>> [y.tolist() for x, y in data]
    [[0, 1], [2, 3], [4]]
    """
    return Batches(x, y, batch_size, seed, sample_weight, preprocess)


class Batches:
    """What `batches` makes: an iterable that can be gone through again.

    Attributes:
        epoch: Number of the epoch that the next `iter` begins.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        batch_size: int,
        seed: int | None = 0,
        sample_weight: Any = None,
        preprocess: Callable[[Any], Any] | None = None,
    ) -> None:
        if batch_size < 1:
            raise DataError(
                "Expected a batch_size of 1 or more. Received: "
                f"{batch_size}. client.batch_size is what its file was "
                "exported for."
            )
        self._data = [_arrays(x), _arrays(y)]
        if sample_weight is not None:
            self._data.append(_arrays(sample_weight))
        sizes = {
            a.shape[0] if a.ndim else 0
            for part in self._data
            for a in _leaves(part)
        }
        if len(sizes) != 1 or not min(sizes):
            raise DataError(
                "Expected the same number of examples, 1 or more, in x, y and "
                f"sample_weight. Received: {sorted(sizes)}. Look at the first "
                "axis of each array."
            )
        self.examples = sizes.pop()
        self.epoch = 0
        self._batch_size = batch_size
        self._seed = seed
        self._preprocess = preprocess

    def __len__(self) -> int:
        """Batches of an epoch."""
        return -(-self.examples // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        order = np.arange(self.examples)
        if self._seed is not None:
            rng = np.random.default_rng([self._seed, self.epoch])
            order = rng.permutation(self.examples)
        self.epoch += 1
        batches = self._batches(order)
        if isinstance(self._data[0], datasets.Photos):
            return datasets.read_ahead(batches)
        return batches

    def _batches(
        self, order: np.ndarray[Any, Any]
    ) -> Iterator[tuple[Any, ...]]:
        for start in range(0, self.examples, self._batch_size):
            rows = order[start : start + self._batch_size]
            batch = [_take(part, rows) for part in self._data]
            if self._preprocess is not None:
                batch[0] = self._preprocess(batch[0])
            yield tuple(batch)


def _arrays(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: np.asarray(value) for name, value in values.items()}
    if isinstance(values, (list, tuple)) and any(
        isinstance(value, np.ndarray) for value in values
    ):
        return [np.asarray(value) for value in values]
    if isinstance(values, datasets.Photos):
        return values
    return np.asarray(values)


def _leaves(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return list(part.values())
    return part if isinstance(part, list) else [part]


def _take(part: Any, rows: np.ndarray[Any, Any]) -> Any:
    if isinstance(part, dict):
        return {name: value[rows] for name, value in part.items()}
    if isinstance(part, list):
        return [value[rows] for value in part]
    return part[rows]
