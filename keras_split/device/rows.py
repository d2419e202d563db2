"""Examples of a phone that wait for the steps that they are drawn for."""

from collections.abc import Iterator

import numpy as np

from keras_split.device.batch import Arrays
from keras_split.device.batch import Batch
from keras_split.device.row_padder import pad


class Rows:
    """Batches of an epoch, of which any number of examples is taken.

    No more of them are read than it takes.

    Args:
        batches: Of the epoch, in order.
        size: Rows that the .tflite wants.
        examples: How many there seem to be.
    """

    def __init__(
        self, batches: Iterator[Batch], size: int, examples: int
    ) -> None:
        self._batches = batches
        self._size = size
        self._to_come = examples
        self._here = 0
        self._parts: list[Arrays] = []  # without rows that only fill up

    def left(self) -> int:
        """How many there still seem to be; 0 only if there are none."""
        if self._to_come <= 0:
            self._read(1)  # there may be more than was said
        return self._here + max(self._to_come, 0)

    def take(self, count: int) -> Batch | None:
        """The next examples; fewer if there are no more, None without any.

        Args:
            count: How many, at most `size`.
        """
        self._read(count)
        count = min(count, self._here)
        if not count:
            return None
        whole = {
            name: np.concatenate([part[name] for part in self._parts])
            for name in self._parts[0]
        }
        self._here -= count
        self._parts = []
        if self._here:
            self._parts = [{name: a[count:] for name, a in whole.items()}]
        tensors = {n: pad(a[:count], self._size) for n, a in whole.items()}
        tensors["count"] = np.array(count, np.int32)
        return Batch(count, tensors)

    def put_back(self, batch: Batch) -> None:
        """Puts what was taken in front again."""
        self._parts.insert(0, _bare(batch))
        self._here += batch.count

    def _read(self, count: int) -> None:
        """Sees to it that so many are here, if there are."""
        while self._here < count:
            batch = next(self._batches, None)
            if batch is None:
                self._to_come = 0
                return
            self._parts.append(_bare(batch))
            self._here += batch.count
            self._to_come -= batch.count


def _bare(batch: Batch) -> Arrays:
    """The examples alone."""
    return {
        name: rows[: batch.count]
        for name, rows in batch.tensors.items()
        if name != "count"
    }
