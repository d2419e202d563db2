"""Evaluates and predicts images with the phone's half and its server."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_split.device.client import Client
from keras_split.errors import DataError
from keras_split.evaluation import LOGITS
from keras_split.evaluation import PROBABILITY
from keras_split.evaluation import UNKNOWN
from keras_split.evaluation import Tally
from keras_split.evaluation.tally import check_labels

_Array = NDArray[Any]


class DeviceScorer:
    """What a `client.tflite` says of images; its server has the body.

    Args:
        client: It.

    Attributes:
        shape: Height, width and channels of its images.
        classes: How many it tells apart; None if its output is a number of
            another kind.
        meaning: Of its outputs; see `keras_split.evaluation.by_class`.
        data_spec: Class names, if client.json says them.
        client: The same.

    Raises:
        DataError: If it is not a model of one image and one output.
    """

    def __init__(self, client: Client) -> None:
        about = client.description
        if len(about.inputs) != 1 or len(about.inputs[0].shape) != 3:
            raise DataError(
                "Expected a model that takes one image. Received: inputs "
                f"{[(i.name, i.shape) for i in about.inputs]}. Use "
                "keras_split.device.Client from Python."
            )
        if len(about.outputs) != 1:
            raise DataError(
                "Expected a model with one output. Received: "
                f"{[o.name for o in about.outputs]}. Use "
                "keras_split.device.Client from Python."
            )
        (output,) = about.outputs
        height, width, channels = about.inputs[0].shape
        self.shape = (height, width, channels)
        self.meaning = LOGITS if output.from_logits else UNKNOWN
        numbers = output.shape[0] if len(output.shape) == 1 else 1
        self.classes = numbers if numbers > 1 else None
        self.data_spec = about.data_spec
        two = output.accuracy or len(self.data_spec.class_names) == 2
        if numbers == 1 and len(output.shape) == 1 and two:
            self.classes, self.meaning = 2, self.meaning or PROBABILITY
        self.client = client
        self._output = output

    def predict(self, images: _Array) -> _Array:
        """Outputs of images of any size, shape `(images, ...)`."""
        size = self.client.batch_size
        made = [
            self.client.predict(self._prepare(images[i : i + size]))
            for i in range(0, len(images), size)
        ]
        return np.concatenate(made)

    def evaluate(
        self,
        images: _Array,
        labels: _Array,
        batch_size: int,
        listener: Callable[[int], object] = lambda done: None,
    ) -> tuple[dict[str, float], Tally | None]:
        """Loss and metrics, and what was taken for what.

        A file for inference has neither a loss nor metrics.

        Args:
            images: Of any size, values from 0 to 255.
            labels: One an image.
            batch_size: Of no interest: the file has its own.
            listener: Called after each batch.

        Raises:
            DataError: If the outputs are not finite, or a label is no class.
        """
        client, tally = self.client, None
        if self.classes is not None:
            check_labels(labels, self.classes)
            tally = Tally(self.classes, self.meaning)
        done = 0

        def record(outputs: list[_Array]) -> None:
            nonlocal done
            count = len(outputs[0])
            if tally is not None:
                tally.add(labels[done : done + count], outputs[0])
            done += count
            listener(done)

        size = client.batch_size
        if not client.description.trains:
            if tally is None:
                raise DataError(
                    "Expected a client.tflite that trains, for a loss, or one "
                    "with a number for each class. Received: one that only "
                    f"infers, with an output of shape {self._output.shape}. "
                    "Export it with --mode train."
                )
            for start in range(0, len(images), size):
                record([self.predict(images[start : start + size])])
            return {}, tally
        wanted = self._labels(labels)
        data = (
            (self._prepare(images[i : i + size]), wanted[i : i + size])
            for i in range(0, len(images), size)
        )
        logs = client.evaluate(data, on_outputs=record)
        if done != len(images) or not np.isfinite(logs["loss"]):
            raise DataError(
                "Expected finite outputs. Received: NaN or infinity in "
                f"{len(images) - done:,} of {len(images):,} images or in "
                "their loss. The training diverged, or client.json is not "
                "that of the training."
            )
        return logs, tally

    def close(self) -> None:
        """Ends the session with the server."""
        self.client.close()

    def _prepare(self, images: _Array) -> _Array:
        read = np.asarray(images)  # of photos that are still on the disk
        return self.client.preprocess(read)

    def _labels(self, labels: _Array) -> _Array:
        """Labels as the loss wants them."""
        wanted = self._output.label
        shape = () if wanted is None else wanted.shape
        if shape == (1,):
            return labels.reshape(-1, 1)
        if self.classes is not None and shape:
            rows: _Array = np.eye(self.classes, dtype=np.float32)
            return rows[labels.astype(np.int64)]
        return labels
