"""A body that computes next to nothing, and takes its time."""

import threading
import time
from typing import Any

import keras
import tensorflow as tf

import keras_split
from keras_split import ServerModel

# One step at a time in a process, as on one core or one accelerator.
_TURN = threading.Lock()


@keras.saving.register_keras_serializable(package="benchmarks")
class Wait(keras.layers.Layer):
    """Gives its inputs back after a while, for which no core is needed.

    A third of the time goes by forward and two thirds backward.
    """

    def __init__(self, seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self.seconds = seconds

    def call(self, inputs: Any) -> Any:
        """The same values, later."""

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def waited(values: Any) -> Any:
            return self._later(values, 1), lambda back: self._later(back, 2)

        return waited(inputs)

    def _later(self, values: Any, thirds: int) -> Any:
        def wait(values: Any) -> Any:
            with _TURN:
                time.sleep(thirds * self.seconds / 3)
            return values

        found = tf.numpy_function(wait, [values], values.dtype)
        found.set_shape(values.shape)
        return found

    def get_config(self) -> dict[str, Any]:
        """What makes it again."""
        return {**super().get_config(), "seconds": self.seconds}


def waiting(seconds: float) -> ServerModel:
    """The server's half of a small network whose steps take this long."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="first")(inputs)
    x = layers.Conv2D(4, 3, padding="same", name="middle")(x)
    x = Wait(seconds, name="deep")(x)
    outputs = layers.Dense(10, name="last")(layers.Flatten()(x))
    model = keras.Model(inputs, outputs)
    return keras_split.compile(model, ["first", "deep"], quantization="int8")[1]
