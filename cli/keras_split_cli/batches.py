"""Batches of arrays in an order that depends on the epoch alone."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

_Array = np.ndarray[Any, Any]


class Batches(keras.utils.PyDataset):
    """What `fit` goes through; a resumed training sees the same batches.

    Args:
        x: Inputs, shape `(examples, ...)`.
        y: Labels of the same examples.
        batch_size: Examples in a batch; the last one may have fewer.
        seed: Decides the order of each epoch; None leaves it as it is.
        weights: How much each example counts, shape `(examples,)`; None for
            all the same.
        prepare: Gets the inputs of a batch, the number of the epoch and that
            of the batch in it, and returns what the model gets.
        pack: Puts the labels of a batch into the structure of the model's
            outputs.
    """

    def __init__(
        self,
        x: _Array,
        y: _Array,
        batch_size: int,
        seed: int | None,
        weights: _Array | None = None,
        prepare: Callable[[_Array, int, int], _Array] | None = None,
        pack: Callable[[list[_Array]], Any] | None = None,
    ) -> None:
        super().__init__()
        self._arrays = (x, y) if weights is None else (x, y, weights)
        self._batch_size = batch_size
        self._seed = None if seed is None else abs(seed)
        self._prepare = prepare
        self._pack = pack
        self.shuffle(0)

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        start = index * self._batch_size
        rows = self._order[start : start + self._batch_size]
        x, y, *weights = (array[rows] for array in self._arrays)
        if self._prepare is not None:
            x = self._prepare(x, self._epoch, index)
        labels = y if self._pack is None else self._pack([y])
        return (x, labels, *weights)

    def shuffle(self, epoch: int, logs: Any = None) -> None:
        """Puts the examples in the order of an epoch; a Keras callback."""
        self._order = np.arange(len(self._arrays[0]))
        if self._seed is not None:
            rng = np.random.default_rng([self._seed, epoch])
            self._order = rng.permutation(len(self._order))
        self._epoch = epoch
