"""Evaluates and predicts images with a whole .tflite: no server, no Keras."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_split import datasets
from keras_split.device.model import litert
from keras_split.errors import DataError
from keras_split.evaluation import PROBABILITY
from keras_split.evaluation import UNKNOWN
from keras_split.evaluation import Tally
from keras_split.evaluation.tally import check_labels
from keras_split.protocol.data_spec import DataSpec
from keras_split.utils.broken_json import BROKEN_JSON

_Array = NDArray[Any]


class WholeScorer:
    """What a .tflite of the whole model says of images.

    Args:
        path: The .tflite; a .json beside it may say classes and
            preprocessing.
        num_threads: Threads of one operation; LiteRT's choice if not given.

    Attributes:
        shape: Height, width and channels of its images.
        classes: How many it tells apart; None if its output is a number of
            another kind.
        meaning: Of its outputs; see `keras_split.evaluation.by_class`.
        data_spec: Classes and preprocessing.

    Raises:
        BackendError: If ai-edge-litert is not installed.
        DataError: If LiteRT cannot load it, or it is not a model of one image
            and one output.
    """

    def __init__(
        self, path: str | os.PathLike[str], num_threads: int | None = None
    ) -> None:
        self._path = os.fspath(path)
        if not Path(path).is_file():
            raise DataError(
                f"Expected a .tflite. Received: {self._path!r}, which is no "
                "file. Write one with keras-split join -o whole.tflite."
            )
        try:
            self._interpreter = litert().Interpreter(
                model_path=self._path, num_threads=num_threads
            )
            half = "head_infer" in self._interpreter.get_signature_list()
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise DataError(
                "Expected a .tflite that LiteRT can load. Received: "
                f"{self._path!r}, damaged or something else "
                f"({str(error).rstrip('.')}). Write it again with keras-split "
                "join -o whole.tflite, or install a newer ai-edge-litert."
            ) from error
        if half:
            raise DataError(
                "Expected a whole model, or client.json beside a phone's half. "
                f"Received: a phone's half in {self._path!r}, and no such "
                "file. Copy both files that were exported to one folder."
            )
        kinds = [(list(t["shape"]), t["dtype"].__name__) for t in inputs]
        if len(inputs) != 1 or len(inputs[0]["shape"]) != 4:
            raise DataError(
                "Expected a .tflite that takes one image. Received: inputs "
                f"{kinds} in {self._path!r}. Run it with LiteRT in Python."
            )
        if len(outputs) != 1:
            raise DataError(
                "Expected a .tflite with one output. Received: "
                f"{len(outputs)} in {self._path!r}. Run it with LiteRT in "
                "Python."
            )
        self._input, self._output = inputs[0], outputs[0]
        if -1 in list(self._input.get("shape_signature", ()))[1:]:
            raise DataError(
                "Expected a .tflite that takes images of one size. Received: "
                f"any, in {self._path!r}. Convert it with height and width: "
                "keras.Input((96, 96, 3))."
            )
        types = {self._input["dtype"], self._output["dtype"]}
        if types != {np.float32}:
            raise DataError(
                "Expected a .tflite with inputs and outputs of float32. "
                f"Received: {sorted(t.__name__ for t in types)} in "
                f"{self._path!r}. Convert it with keras-split join, which "
                "keeps them at every precision."
            )
        height, width, channels = map(int, self._input["shape"][1:])
        self.shape = (height, width, channels)
        self.meaning = UNKNOWN
        self.data_spec = read_data_spec(path)
        row = len(self._output["shape"]) == 2  # or it is another picture
        numbers = int(self._output["shape"][1]) if row else 0
        self.classes = numbers if numbers > 1 else None
        if numbers == 1 and len(self.data_spec.class_names) == 2:
            self.classes, self.meaning = 2, PROBABILITY
        self._rows = 0

    def predict(self, images: _Array) -> _Array:
        """Outputs of images of any size, shape `(images, ...)`."""
        read = np.asarray(images)  # of photos that are still on the disk
        scale = self.data_spec.scale_in_place
        x = datasets.to_model_input(read, self.shape, scale)
        try:
            return self._run(x)
        except (ValueError, RuntimeError) as error:
            raise DataError(
                f"Expected LiteRT to run {self._path!r}. Received: {error}. "
                "Export it again, or install a newer ai-edge-litert."
            ) from error

    def evaluate(
        self,
        images: _Array,
        labels: _Array,
        batch_size: int,
        listener: Callable[[int], object] = lambda done: None,
    ) -> tuple[dict[str, float], Tally | None]:
        """What was taken for what; a .tflite has no loss.

        Args:
            images: Of any size, values from 0 to 255.
            labels: One an image.
            batch_size: Images in a batch.
            listener: Called after each batch.

        Raises:
            DataError: If it tells no classes apart, the outputs are not
                finite, or a label is no class.
        """
        if self.classes is None:
            raise DataError(
                "Expected a .tflite with a number for each class. Received: "
                f"one number for an image in {self._path!r}, and nothing that "
                "says what it is compared with. Evaluate the .keras."
            )
        check_labels(labels, self.classes)
        tally = Tally(self.classes, self.meaning)
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            tally.add(labels[rows], self.predict(images[rows]))
            listener(min(start + batch_size, len(images)))
        return {}, tally

    def close(self) -> None:
        """Does nothing: nobody is called."""

    def _run(self, x: _Array) -> _Array:
        fixed = int(self._input["shape"][0])
        if int(self._input.get("shape_signature", [fixed])[0]) == -1:
            fixed = len(x)
        made = []
        for start in range(0, len(x), fixed):
            part = x[start : start + fixed]
            count = len(part)
            if count < fixed:  # rows of a batch do not know each other
                part = np.concatenate([part, x[:1].repeat(fixed - count, 0)])
            self._allocate(fixed)
            index = self._input["index"]
            self._interpreter.set_tensor(index, np.ascontiguousarray(part))
            self._interpreter.invoke()
            outputs = self._interpreter.get_tensor(self._output["index"])
            made.append(np.array(outputs[:count]))
        return np.concatenate(made)

    def _allocate(self, rows: int) -> None:
        if rows == self._rows:
            return
        if rows != int(self._input["shape"][0]) or self._rows:
            self._interpreter.resize_tensor_input(
                self._input["index"], (rows, *self.shape)
            )
        self._interpreter.allocate_tensors()
        self._rows = rows


def read_data_spec(model: str | os.PathLike[str]) -> DataSpec:
    """Classes and preprocessing that the .json beside a whole model says.

    Args:
        model: The .keras or .tflite.

    Returns:
        What it says; nothing if it is not there.

    Raises:
        DataError: If it is there and cannot be read, or is of another model.
    """
    path = Path(model).with_suffix(".json")
    if not path.is_file():
        return DataSpec()
    try:
        config = json.loads(path.read_bytes())
        preprocess = config.get("preprocess") or {}
        spec = DataSpec.get(
            {
                "class_names": config.get("class_names") or (),
                "matrix": preprocess.get("matrix") or (),
                "offset": preprocess.get("offset") or (),
            }
        )
        # Of a .keras and a .tflite of one name, it tells of the later one.
        expected = config.get(f"{Path(model).suffix[1:]}_sha256")
    except BROKEN_JSON as error:
        raise DataError(
            f"Expected {path} to say classes and preprocessing, as keras-split "
            f"join wrote it. Received: a file that cannot be read ({error}). "
            "Join the halves again, or remove it."
        ) from error
    if expected is not None:
        with Path(model).open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if digest != expected:
            raise DataError(
                f"Expected the {Path(model).name} that {path.name} describes, "
                f"sha256 {str(expected)[:12]}. Received: one of sha256 "
                f"{digest[:12]}: another model, or trained since. Join the "
                f"halves again; or remove {path.name}, if images go in as "
                "they are."
            )
    return spec
