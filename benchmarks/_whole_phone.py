"""A whole model as a LiteRT file that trains: what a phone alone would run.

`client.export` writes head and tail of a model that is cut twice. To have
something to compare that with, this writes a model that is not cut, with the
same pieces of `keras_split.litert`: one signature, `"step"`, which is a step
of training, forward, backward and update.
"""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_split.litert.convert import convert
from keras_split.litert.layer_overrides import Batch
from keras_split.litert.losses import OutputLoss
from keras_split.litert.optimizers import Update
from keras_split.litert.segment import TracedSegment

Tensors = dict[str, tf.Tensor]


class WholeStep:
    """A step of training of a whole model.

    Args:
        model: With one input and one output.
        batch: Rows of every tensor.
        optimizer: As `client.export` takes it.
        loss: The same.
    """

    def __init__(
        self, model: keras.Model, batch: int, optimizer: Any, loss: Any
    ) -> None:
        self._batch = batch
        model = keras.Model(model.inputs, model.outputs)  # it takes a list
        self._whole = TracedSegment("whole", model, Update(optimizer))
        self._loss = OutputLoss(model.output_names[0], loss)
        self.module = tf.Module()
        self.module.state = [e.variable for e in self._whole.state.entries]
        (image,), (output,) = model.inputs, model.outputs
        labels = self._loss.label_shape(output.shape[1:])
        self.specs = {
            "x": tf.TensorSpec((batch, *image.shape[1:]), image.dtype),
            "y": tf.TensorSpec((batch, *labels), self._loss.label_dtype),
            "step": tf.TensorSpec((), tf.int32),
            "learning_rate": tf.TensorSpec((), tf.float32),
        }

    def step(self, **given: tf.Tensor) -> Tensors:
        """Moves weights, statistics and slots; returns the loss."""
        state, count = self._whole.state, tf.constant(self._batch)
        read = state.read()
        batch = Batch(self._batch, count, given["step"])
        run = self._whole.train(read, [given["x"]], batch)
        every = tf.ones((self._batch,))
        (predicted,) = run.outputs
        loss = self._loss.value(given["y"], predicted, every, count)
        loss += run.penalty
        found = tf.gradients(loss, read[: len(state.trained)])
        new = self._whole.updated(
            read, run, found, given["learning_rate"], given["step"]
        )
        for entry, value in zip(state.entries, new, strict=True):
            entry.variable.assign(value)
        return {"loss": loss}


def export(
    model: keras.Model,
    path: Path,
    batch: int,
    optimizer: Any,
    loss: Any = "sparse_categorical_crossentropy",
) -> None:
    """Writes a whole model's step as a .tflite.

    Args:
        model: With one input and one output.
        path: Where to write.
        batch: Rows of every tensor.
        optimizer: Of Keras.
        loss: Of Keras.

    Raises:
        ExportError: If LiteRT has no operation for something in it.
    """
    made = WholeStep(model, batch, optimizer, loss)
    layers = {layer.name: type(layer).__name__ for layer in model.layers}
    path.write_bytes(
        convert(made.module, {"step": (made.step, made.specs)}, layers)
    )
