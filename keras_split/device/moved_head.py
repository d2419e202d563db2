"""A head with other weights for a moment, to check the server's gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_split.compression.tensors import CutTensor
from keras_split.device.batch import Batch
from keras_split.device.model import Model
from keras_split.device.row_padder import RowPadder

_Array = np.ndarray[Any, Any]


class MovedHead:
    """The head as it is now, with a batch; see `detection.detector.Head`.

    Weights of a .tflite are moved by `set_state`. Those of the tail move too,
    which nobody sees.

    Args:
        model: The .tflite.
        names: Its weights that are trained, by name.
        batch: The step's examples.
        step: Number of the step.
        padder: Takes the smashed data from the signature.
    """

    def __init__(
        self,
        model: Model,
        names: Sequence[str],
        batch: Batch,
        step: int,
        padder: RowPadder,
    ) -> None:
        self._model = model
        self._names = names
        self._batch = batch
        self._known = batch.tensors | {"step": np.array(step, np.int32)}
        self._padder = padder
        self._state = model.get_state()

    def weights(self) -> Sequence[_Array]:
        """Those that are trained."""
        return [self._state[name] for name in self._names]

    def smashed(self, weights: Sequence[_Array]) -> list[CutTensor]:
        """What it would send with other weights; all is put back."""
        moved = dict(zip(self._names, weights, strict=True))
        now = self._model.get_state()
        try:
            self._model.set_state(self._state | moved)
            made = self._model.run("head_forward", self._known)
        finally:
            self._model.set_state(now)
        return self._padder.leave(made, self._batch.count)
