"""Head and tail of a .tflite as one vector, for the phones of a cohort."""

from typing import Any

import numpy as np

from keras_split.device.description import Description
from keras_split.device.model import Model
from keras_split.protocol.half_layout import HalfLayout
from keras_split.protocol.half_layout import HalfTensor

_Array = np.ndarray[Any, Any]


class HalfVector:
    """Head and tail of a .tflite as one vector.

    Its order is that of `HalfLayout`, so a Keras client of the same model has
    the same. Slots of the optimizer are not in it, and stay as they are.

    Args:
        model: The .tflite.
        description: Its client.json.
        batchnorm: `"average"`, or `"local"` to leave batch normalization out.

    Attributes:
        size: Numbers in the vector.
        layout: SHA-256 of what they are, as hexadecimal digits.
        statistics: Whether some of them are statistics.

    Raises:
        OptionError: If nothing of it is trained.
    """

    def __init__(
        self,
        model: Model,
        description: Description,
        batchnorm: str = "average",
    ) -> None:
        found = [t for t in description.state if t.kind != "slot"]
        tensors = [
            HalfTensor(t.name.partition("_")[0], t.kind, t.shape, t.variable)
            for t in found
        ]
        self._layout = HalfLayout(tensors, batchnorm, description.frozen)
        self._names = [found[i].name for i in self._layout.kept]
        self._model = model
        self.size, self.layout = self._layout.size, self._layout.digest
        self.statistics = self._layout.statistics

    def get(self) -> _Array:
        """A copy, shape `(size,)`, float32."""
        state = self._model.get_state()
        return self._layout.join([state[name] for name in self._names])

    def set(self, vector: _Array) -> None:
        """Puts one back."""
        state = self._model.get_state()
        parts = self._layout.split(vector)
        for name, part in zip(self._names, parts, strict=True):
            state[name] = np.asarray(part, state[name].dtype)
        self._model.set_state(state)
