"""Values of many variables as one vector of bytes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.utils import retracing

_Bytes = np.ndarray[Any, Any]


class VariableBytes:
    """Values of variables of any dtypes as one vector of bytes.

    One graph reads all of them, and one assigns them: a variable at a time,
    Keras takes 0.1 ms for each, and a turn of a phone with a dozen variables
    takes as long for that as for its step.

    Args:
        variables: Keras variables.

    Attributes:
        size: Bytes in the vector.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = list(variables)
        self._sizes = [
            int(np.prod(v.shape)) * tf.as_dtype(v.dtype).size
            for v in self._variables
        ]
        self.size: int = sum(self._sizes)
        self._joined = tf.function(self._join, [], autograph=False)
        self._assigned = tf.function(
            self._assign,
            [tf.TensorSpec((self.size,), tf.uint8)],
            autograph=False,
        )

    def get(self) -> _Bytes:
        """A copy of the values, shape `(size,)`, uint8."""
        if not self.size:
            return np.zeros(0, np.uint8)
        with retracing.expected():
            values: _Bytes = self._joined().numpy()
        return values

    def set(self, values: _Bytes) -> None:
        """Puts a copy back."""
        if self.size:
            with retracing.expected():
                self._assigned(tf.constant(values))

    def _join(self) -> tf.Tensor:
        return tf.concat([_bytes(v) for v in self._variables], 0)

    def _assign(self, values: tf.Tensor) -> None:
        parts = tf.split(values, self._sizes)
        for variable, part in zip(self._variables, parts, strict=True):
            variable.assign(_value(part, variable))


def _bytes(variable: Any) -> tf.Tensor:
    value = tf.convert_to_tensor(variable.value)
    if value.dtype == tf.bool:
        value = tf.cast(value, tf.uint8)
    return tf.reshape(tf.bitcast(value, tf.uint8), [-1])


def _value(part: tf.Tensor, variable: Any) -> tf.Tensor:
    dtype = tf.as_dtype(variable.dtype)
    if dtype == tf.bool:
        value = tf.cast(part, tf.bool)
    elif dtype.size == 1:
        value = tf.bitcast(part, dtype)
    else:
        value = tf.bitcast(tf.reshape(part, [-1, dtype.size]), dtype)
    return tf.reshape(value, variable.shape)
