"""A Keras optimizer on one vector, whose gradients are changes turned round."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_split.errors import ProtocolError
from keras_split.protocol.optimizer_config import OptimizerConfig
from keras_split.training.body_optimizer import build

_Vector = np.ndarray[Any, Any]


class VectorOptimizer:
    """A Keras optimizer on the average change of phones.

    The change is taken for a gradient with the opposite sign: SGD with a
    learning rate of 1 is the average as it is, with momentum it is FedAvgM,
    Adam is FedAdam. Reddi et al., Adaptive Federated Optimization, ICLR 2021,
    algorithm 2.

    Args:
        config: Of the optimizer, as JSON.
        size: Numbers in a vector.

    Raises:
        ProtocolError: With reason `"optimizer"`, if it is none that can be.
    """

    def __init__(self, config: str, size: int) -> None:
        read = OptimizerConfig.read(config)
        if read.loss_scale is not None:
            raise ProtocolError(
                "Expected an optimizer of the average change, which no loss "
                "scales. Received: a LossScaleOptimizer. Take the one inside.",
                "optimizer",
            )
        self._vector = keras.Variable(np.zeros(size, np.float32), name="half")
        self._optimizer = build(read, [self._vector])
        self._optimizer.build([self._vector])

    def change(self, half: _Vector, change: _Vector) -> _Vector:
        """What a half changes by, when phones changed it so on average.

        Args:
            half: Shape `(size,)`, float32.
            change: Likewise.

        Returns:
            Likewise.
        """
        self._vector.assign(half)
        gradient = keras.ops.convert_to_tensor(-change)
        self._optimizer.apply([gradient])
        after: _Vector = np.array(self._vector)
        return after - half

    def slots(self) -> list[_Vector]:
        """A copy of every variable of the optimizer."""
        return [np.array(variable) for variable in self._optimizer.variables]

    def set_slots(self, values: Sequence[_Vector]) -> None:
        """Puts a copy back."""
        variables = self._optimizer.variables
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
