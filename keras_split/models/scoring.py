"""Evaluates and predicts images with a Keras model, whole or split."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from keras_split import datasets
from keras_split.client.strategy import SplitStrategy
from keras_split.errors import DataError
from keras_split.evaluation import LOGITS
from keras_split.evaluation import PROBABILITY
from keras_split.evaluation import SCORE
from keras_split.evaluation import UNKNOWN
from keras_split.evaluation import Tally
from keras_split.evaluation.tally import check_labels
from keras_split.models.client import ClientModel
from keras_split.protocol.data_spec import DataSpec
from keras_split.utils import keras_private

_Array = NDArray[Any]
Listener = Callable[[int], object]  # told how many images are done
# What leaves the values of an output as they are.
_PLAIN = (
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.Reshape,
)


class KerasScorer:
    """What a Keras model says of images.

    A client is compiled anew, with its own loss and metrics and without an
    optimizer, so that its server makes none either.

    Args:
        model: A client, or a whole model.
        strategy: How a client reaches its server.
        data_spec: Classes and preprocessing; a client has its own.

    Attributes:
        shape: Height, width and channels of its images.
        classes: How many it tells apart; None if its output is a number of
            another kind.
        meaning: Of its outputs; see `keras_split.evaluation.by_class`.
        data_spec: The same.

    Raises:
        DataError: If it is not a model of one image and one output.
    """

    def __init__(
        self,
        model: keras.Model,
        strategy: SplitStrategy | None = None,
        data_spec: DataSpec | None = None,
    ) -> None:
        split = isinstance(model, ClientModel)
        inputs = model.head.inputs if split else _ends(model, "inputs")
        if split and len(model.wiring.inputs) != 1:
            inputs = list(model.wiring.inputs)
        self.shape = _image_shape(inputs)
        output = _output(model)
        loss = _loss(model)
        self.meaning = _meaning(output, loss)
        width = _width(model, output)
        several = width is not None and width > 1
        told = self.meaning in (PROBABILITY, LOGITS)
        self.classes = width if several else 2 if told else None
        own: DataSpec = getattr(model, "data_spec", DataSpec())
        self.data_spec = data_spec or own
        self._model = model
        self._one_hot = several and _wants_rows(loss)  # or it is refused
        self._compiled = loss is not None
        if split:
            given = keras_private.compile_config(model)
            given["optimizer"] = None
            model.compile(**given, strategy=strategy)

    def predict(self, images: _Array) -> _Array:
        """Outputs of images of any size, shape `(images, ...)`."""
        made = self._model.predict_on_batch(self._prepare(images))
        return np.asarray(made)

    def evaluate(
        self,
        images: _Array,
        labels: _Array,
        batch_size: int,
        listener: Listener = lambda done: None,
    ) -> tuple[dict[str, float], Tally | None]:
        """Loss and metrics as Keras has them, and what was taken for what.

        Args:
            images: Of any size, values from 0 to 255.
            labels: One an image.
            batch_size: Images in a batch.
            listener: Called after each batch.

        Returns:
            Numbers by name, none if the model was not compiled; and a tally
            if it tells classes apart.

        Raises:
            DataError: If the outputs are not finite, or a label is no class.
        """
        tally = None
        if self.classes is not None:
            check_labels(labels, self.classes)
            tally = Tally(self.classes, self.meaning)
        done = 0
        failed: list[DataError] = []

        def record(y: _Array, outputs: _Array) -> None:
            nonlocal done
            try:
                if tally is not None:
                    tally.add(_numbers(y), outputs)
            except DataError as error:  # else TensorFlow's report of it
                failed.append(error)
            done += len(y)
            listener(done)

        batches = _Batches(self._prepare, images, self._labels(labels))
        batches.batch_size = batch_size
        logs: dict[str, float] = {}
        if self._compiled:
            logs = self._evaluate(batches, record)
        else:
            for x, y in map(batches.__getitem__, range(len(batches))):
                record(y, np.asarray(self._model.predict_on_batch(x)))
        if failed:
            raise failed[0]
        if done != len(images) or not all(map(math.isfinite, logs.values())):
            raise DataError(
                "Expected finite outputs. Received: NaN or infinity for "
                f"{len(images) - done or len(images):,} of {len(images):,} "
                "images or for their loss. The training diverged, or the "
                "images are not scaled as the model wants them."
            )
        return logs, tally

    def close(self) -> None:
        """Ends the session with the server, if there is one."""
        if isinstance(self._model, ClientModel):
            self._model.close()

    def _evaluate(
        self, batches: "_Batches", record: Callable[..., None]
    ) -> dict[str, float]:
        """Keras' `evaluate`, of which each batch's outputs are recorded."""
        model, plain = self._model, self._model.compute_metrics

        def compute_metrics(
            x: Any, y: Any, y_pred: Any, sample_weight: Any = None
        ) -> Any:
            tf.numpy_function(record, [y, y_pred], [])
            return plain(x, y, y_pred, sample_weight)

        with keras_private.overridden(
            [(model, "compute_metrics", compute_metrics)]
        ):
            model.make_test_function(force=True)
            try:
                logs = model.evaluate(batches, verbose=0, return_dict=True)
            finally:
                model.test_function = None
        return {name: float(value) for name, value in logs.items()}

    def _prepare(self, images: _Array) -> _Array:
        read = np.asarray(images)  # of photos that are still on the disk
        scale = self.data_spec.scale_in_place
        return datasets.to_model_input(read, self.shape, scale)

    def _labels(self, labels: _Array) -> _Array:
        """Labels as the loss wants them."""
        if self._one_hot and self.classes is not None:
            rows: _Array = np.eye(self.classes, dtype=np.float32)
            return rows[labels.astype(np.int64)]
        return labels


class _Batches(keras.utils.PyDataset):
    """Images that are made ready when their batch's turn comes."""

    batch_size = 32

    def __init__(
        self,
        prepare: Callable[[_Array], _Array],
        images: _Array,
        labels: _Array,
    ) -> None:
        super().__init__()
        self._prepare, self._images, self._labels = prepare, images, labels

    def __len__(self) -> int:
        return -(-len(self._images) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[_Array, _Array]:
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self._prepare(self._images[rows]), self._labels[rows]


def _image_shape(inputs: Any) -> tuple[int, int, int]:
    shapes = [tuple(getattr(tensor, "shape", (None,))) for tensor in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4 or None in shapes[0][1:]:
        raise DataError(
            "Expected a model that takes one image of a fixed size. Received: "
            f"inputs of shape {', '.join(map(str, shapes))}. Call evaluate or "
            "predict of the model in Python."
        )
    height, width, channels = shapes[0][1:]
    return int(height), int(width), int(channels)


def _output(model: keras.Model) -> Any:
    """The symbolic output; None for one that is on the server.

    Raises:
        DataError: If there are several.
    """
    if not isinstance(model, ClientModel):
        outputs = _ends(model, "outputs")
    elif model.tail is not None:
        outputs = model.tail.outputs
    else:
        outputs = [None] * len(model.contract.features)
    if len(outputs) != 1:
        raise DataError(
            f"Expected a model with one output. Received: {len(outputs)} of "
            "them. Call evaluate or predict of the model in Python."
        )
    return outputs[0]


def _ends(model: keras.Model, name: str) -> list[Any]:
    """Inputs or outputs; none of a model that has no graph."""
    try:
        return list(getattr(model, name) or ())
    except (AttributeError, ValueError):
        return []


def _width(model: keras.Model, output: Any) -> int | None:
    """Numbers for an image; None if it has no row of them."""
    if output is None and isinstance(model, ClientModel):
        shape = (None, *model.contract.features[0].shape)
    else:
        shape = tuple(output.shape)
    if len(shape) == 2 and shape[1] is not None:
        return int(shape[1])
    return None


def _loss(model: keras.Model) -> Any:
    """The loss that it was compiled with, if it was: an object, a function."""
    given = keras_private.loss_given(model) if model.compiled else None
    flat = keras.tree.flatten(given)
    loss = flat[0] if len(flat) == 1 else None
    return keras.losses.get(loss) if isinstance(loss, str) else loss


def _meaning(output: Any, loss: Any) -> str:
    if isinstance(loss, keras.Loss) and loss.get_config().get("from_logits"):
        return LOGITS
    if output is None:
        return UNKNOWN
    kind = activation(output)
    if kind in ("softmax", "sigmoid"):
        return PROBABILITY
    return SCORE if kind == "linear" else UNKNOWN


def activation(output: Any) -> str:
    """Name of the function that made an output; empty if that is none.

    Args:
        output: A symbolic tensor.
    """
    operation = keras_private.made_by(output)
    inner = keras_private.functional(operation)
    if inner is not None:
        return activation(inner.outputs[0])
    kind = type(operation).__name__
    if kind in ("Softmax", "Sigmoid"):
        return kind.lower()
    if isinstance(operation, _PLAIN):
        return activation(operation.input)
    function = getattr(operation, "activation", None)
    return str(getattr(function, "__name__", ""))


def _wants_rows(loss: Any) -> bool:
    """Whether a loss wants one-hot rows for class numbers.

    Raises:
        DataError: If nobody knows.
    """
    if loss is None:
        return False
    kinds = type(loss).__mro__ if isinstance(loss, keras.Loss) else [loss]
    names = [getattr(kind, "__name__", "") for kind in kinds]
    stock = [n for n in names if n != "Loss" and hasattr(keras.losses, n)]
    if not stock:
        raise DataError(
            "Expected a loss of Keras, of which it is known in which form it "
            f"wants class numbers. Received: {names[0]}. Call evaluate of the "
            "model in Python, with labels in its form."
        )
    return not any(name.lower().startswith("sparse") for name in stock)


def _numbers(labels: _Array) -> _Array:
    """Class numbers, of themselves or of one-hot rows."""
    if labels.ndim > 1 and labels.shape[-1] > 1:
        made: _Array = labels.argmax(-1)
        return made
    return labels.reshape(len(labels))
