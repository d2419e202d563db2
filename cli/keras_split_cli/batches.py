"""Batches of arrays in an order that depends on the epoch alone."""

from typing import Any

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """What `fit` goes through; a resumed training sees the same batches.

    Args:
        x: Inputs, shape `(examples, ...)`.
        y: Labels of the same examples.
        batch_size: Examples in a batch; the last one may have fewer.
        seed: Decides the order of each epoch.
    """

    def __init__(
        self,
        x: np.ndarray[Any, Any],
        y: np.ndarray[Any, Any],
        batch_size: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._arrays = (x, y)
        self._batch_size = batch_size
        self._seed = abs(seed)
        self.shuffle(0)

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray[Any, Any], ...]:
        start = index * self._batch_size
        rows = self._order[start : start + self._batch_size]
        return tuple(array[rows] for array in self._arrays)

    def shuffle(self, epoch: int, logs: Any = None) -> None:
        """Puts the examples in the order of an epoch; a Keras callback."""
        rng = np.random.default_rng([self._seed, epoch])
        self._order = rng.permutation(len(self._arrays[0]))
