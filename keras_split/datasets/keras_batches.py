"""Images and labels as Keras takes them, read and prepared batch by batch."""

from typing import Any

import keras
import numpy as np


class KerasBatches(keras.utils.PyDataset):
    """What `datasets.batches` makes; Keras reads ahead of the training."""

    def __init__(
        self,
        x: Any,
        y: np.ndarray[Any, Any],
        batch_size: int,
        seed: int | None,
        epoch: int,
    ) -> None:
        super().__init__()
        self._arrays = (x, y)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch
        self._begun = False
        self._shuffle()

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        start = index * self._batch_size
        rows = self._order[start : start + self._batch_size]
        return tuple(array[rows] for array in self._arrays)

    def on_epoch_begin(self) -> None:
        """Notes that there is one; Keras calls it."""
        self._begun = True

    def on_epoch_end(self) -> None:
        """Goes on to the order of the next epoch; Keras calls it."""
        if not self._begun:
            return  # Keras 3.15 ends one before `fit` begins the first
        self._begun = False
        self._epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        self._order = np.arange(len(self._arrays[0]))
        if self._seed is not None:
            rng = np.random.default_rng([self._seed, self._epoch])
            self._order = rng.permutation(self._order)
