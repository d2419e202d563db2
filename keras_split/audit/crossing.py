"""What a server would see of outputs that it makes itself."""

from typing import Any

import keras
import tensorflow as tf

from keras_split.audit.scene import Scene
from keras_split.compression.quantize import simulate
from keras_split.defenses.chain import Moment


class Crossing:
    """Takes outputs of a head across the cut, as the phone would.

    That is defenses, with draws of the attacker's own, then quantization.
    Gradients pass the rounding as they are.

    Args:
        scene: Has contract and defenses.
    """

    def __init__(self, scene: Scene) -> None:
        self._count = len(scene.contract.smashed)
        self._rule = scene.contract.quantization.activations
        self._defenses = scene.defenses

    def send(self, outputs: Any, step: tf.Tensor) -> list[tf.Tensor]:
        """What the server gets.

        Args:
            outputs: Of a head; what stays for the tail is left out.
            step: A number that says what noise is drawn, a scalar int32.

        Returns:
            Float32 tensors of shape `(batch, ...)`.
        """
        made = keras.tree.flatten(outputs)[: self._count]
        return [
            self._round(self._defenses.apply(x, "smashed", n, Moment(step)))
            for n, x in enumerate(made)
        ]

    def _round(self, x: tf.Tensor) -> tf.Tensor:
        x = tf.cast(x, tf.float32)
        return x + tf.stop_gradient(simulate(x, self._rule) - x)
