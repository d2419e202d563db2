"""The phone's task, as a server can train on it with public data."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.audit.scene import Scene
from keras_split.models.scoring import activation


class Task:
    """Classes of public data, through the server's own body and some tail.

    The body runs as in a training step, and stays as it is.

    Attributes:
        tail: A new one; None where the task is not to tell classes apart, or
            the tail reads more than features.
    """

    def __init__(self, scene: Scene) -> None:
        self._body = scene.body
        self._classes = scene.classes
        self.tail: keras.Model | None = None
        outputs = scene.tail.outputs
        if len(scene.tail.inputs) == len(scene.contract.features):
            if len(outputs) == 1 and len(outputs[0].shape) == 2:
                known = {scene.classes} | ({1} & {scene.classes - 1})
                if outputs[0].shape[1] in known:
                    self.tail = scene.new_tail()

    def loss(self, smashed: list[tf.Tensor], y: tf.Tensor) -> tf.Tensor:
        """Mean crossentropy of classes, from what would be sent.

        Args:
            smashed: Tensors of shape `(batch, ...)`.
            y: Class numbers, shape `(batch,)`, int32.
        """
        assert self.tail is not None
        made = self.tail(self._features(smashed), training=True)
        made = tf.cast(keras.tree.flatten(made)[0], tf.float32)
        kind = activation(self.tail.outputs[0])
        if made.shape[1] == 1:
            return tf.reduce_mean(
                keras.losses.binary_crossentropy(
                    tf.cast(y, tf.float32)[:, None],
                    made,
                    from_logits=kind != "sigmoid",
                )
            )
        return tf.reduce_mean(
            keras.losses.sparse_categorical_crossentropy(
                y, made, from_logits=kind not in ("softmax", "sigmoid")
            )
        )

    def labels(self, features: list[tf.Tensor]) -> np.ndarray[Any, Any]:
        """Class numbers that the tail gives to real features."""
        assert self.tail is not None
        made = self.tail(features, training=False)
        scores = np.asarray(keras.tree.flatten(made)[0], "float32")
        if scores.shape[1] == 1:
            kind = activation(self.tail.outputs[0])
            middle = 0.5 if kind == "sigmoid" else 0.0
            scores = np.concatenate([middle - scores, scores - middle], 1)
        found: np.ndarray[Any, Any] = np.argmax(scores, 1)
        return found

    def _features(self, smashed: list[tf.Tensor]) -> list[tf.Tensor]:
        made, _ = self._body.stateless_call(
            self._body.trainable_variables,
            self._body.non_trainable_variables,
            smashed,
            training=True,
        )
        features: list[tf.Tensor] = keras.tree.flatten(made)
        return features
