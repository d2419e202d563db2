"""What client.json says about the .tflite beside it."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_split.errors import DataError
from keras_split.protocol.contract import Contract
from keras_split.protocol.data_spec import DataSpec
from keras_split.protocol.messages import NO_OPTIMIZER
from keras_split.protocol.messages import PROTOCOL
from keras_split.protocol.moment import Moment
from keras_split.utils.broken_json import BROKEN_JSON

FORMAT = 1
_ADVICE = (
    "Export the model again with keras-split export, or in Python with "
    "client.export('client.tflite'), and copy both files, client.tflite and "
    "client.json, to one folder."
)


@dataclass(frozen=True)
class Tensor:
    """Name, shape and dtype of one tensor.

    Inputs and state have the shape that is written; a tensor of a signature
    has its batch axis in front.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class StateTensor(Tensor):
    """One tensor of the state.

    Attributes:
        variable: Path of the Keras variable that it belongs to.
        kind: `"weight"`, `"statistic"` or `"slot"`.
    """

    variable: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Output:
    """One output of the model, and what it is compared with.

    Attributes:
        name: As in Keras.
        shape: Of one example's prediction.
        dtype: Of the prediction.
        label: Shape and dtype of one example's label; None in a file that
            cannot train.
        loss: Name of the loss, such as `"mean_squared_error"`.
        accuracy: Whether the file counts right answers.
        from_logits: Whether the loss takes predictions for logits.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    label: Tensor | None
    loss: str
    accuracy: bool
    from_logits: bool = False


@dataclass(frozen=True)
class Signature:
    """What one function of the .tflite takes and gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Description:
    """A `client.json`.

    Attributes:
        mode: `"train"` or `"infer"`.
        batch_size: Examples in each call of the .tflite.
        contract: What client and server agreed on when the model was cut.
        inputs: The model's inputs, without the batch axis.
        outputs: The model's outputs.
        optimizer: Config of the optimizer as JSON, for the server.
        learning_rate: The optimizer's.
        data_spec: Names of the classes, and how pixels of 0 to 255 become
            the model's input.
        state: What `get_state` gives: weights, statistics, optimizer slots.
        frozen: Hash of the values that never change in this file.
        signatures: The functions of the .tflite.
        sha256: Hash of the .tflite.
        moment: Of the weights in it; empty if they are untrained.
        frozen_head: Whether the head has no weights to train, so that steps
            need no gradients of the smashed data.
    """

    mode: str
    batch_size: int
    contract: Contract
    inputs: tuple[Tensor, ...]
    outputs: tuple[Output, ...]
    optimizer: str
    learning_rate: float
    data_spec: DataSpec
    state: tuple[StateTensor, ...]
    frozen: str
    signatures: dict[str, Signature]
    sha256: str
    moment: Moment = Moment()
    frozen_head: bool = False

    @property
    def trains(self) -> bool:
        """Whether the file holds a training step."""
        return self.mode == "train"

    @classmethod
    def read(cls, tflite: str | os.PathLike[str]) -> "Description":
        """Reads the client.json beside `tflite` and compares the two.

        Raises:
            DataError: If one of them is missing, damaged, of a newer
                keras_split, or if they do not belong together.
        """
        tflite = Path(tflite)
        if tflite.suffix == ".keras":
            raise DataError(
                f"Expected a .tflite. Received: {str(tflite)!r}, a .keras. "
                f"Make one: keras-split export {tflite} -o FOLDER, where "
                "TensorFlow is installed."
            )
        path = tflite.with_suffix(".json")
        for file in (tflite, path):
            if not file.is_file():
                raise DataError(
                    f"Expected {tflite.name} and {path.name} in one folder. "
                    f"Received: no file {str(file)!r}. {_ADVICE}"
                )
        try:
            config = json.loads(path.read_bytes())
            versions = (config["format"], config["protocol"])
            if versions != (FORMAT, PROTOCOL):
                raise DataError(
                    f"Expected {path} of format {FORMAT} and protocol "
                    f"{PROTOCOL}. Received: format {versions[0]} and protocol "
                    f"{versions[1]}. Install the keras_split that exported "
                    f"it ({config.get('keras_split', 'unknown')}), or export "
                    "it again."
                )
            description = cls.from_config(config)
        except DataError:
            raise
        except BROKEN_JSON as error:
            raise DataError(
                f"Expected {path} as client.export wrote it. Received: a file "
                f"that cannot be read ({type(error).__name__}: {error}). "
                f"{_ADVICE}"
            ) from error
        with tflite.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if digest != description.sha256:
            raise DataError(
                f"Expected the {tflite.name} that {path.name} describes, "
                f"sha256 {description.sha256[:12]}. Received: a file of "
                f"sha256 {digest[:12]}: the two come from different exports, "
                f"or one is damaged. {_ADVICE}"
            )
        return description

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Description":
        """A description from the JSON object in the file.

        Raises:
            ValueError: If a value is not what it may be.
            KeyError: If one is missing.
        """
        mode = config["mode"]
        if mode not in ("train", "infer"):
            raise ValueError(f"mode is {mode!r}")
        batch_size = int(config["batch_size"])
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}")
        optimizer = config["optimizer"] or {}
        return cls(
            mode=mode,
            batch_size=batch_size,
            contract=Contract.from_config(config["contract"]),
            inputs=_tensors(config["inputs"]),
            outputs=tuple(_output(item) for item in config["outputs"]),
            optimizer=str(optimizer.get("config", NO_OPTIMIZER)),
            learning_rate=float(optimizer.get("learning_rate", 0.0)),
            data_spec=_data_spec(config),
            state=tuple(
                StateTensor(
                    item["name"],
                    _shape(item["shape"]),
                    item["dtype"],
                    item["variable"],
                    item["kind"],
                )
                for item in config.get("state") or []
            ),
            frozen=str(config.get("frozen") or ""),
            signatures={
                name: Signature(
                    _tensors(item["inputs"]), _tensors(item["outputs"])
                )
                for name, item in config["signatures"].items()
            },
            sha256=str(config["tflite_sha256"]),
            moment=Moment.get(config.get("moment")),
            frozen_head=bool(config.get("frozen_head", False)),
        )


def _tensors(items: Sequence[dict[str, Any]]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(item["name"], _shape(item["shape"]), item["dtype"])
        for item in items
    )


def _output(item: dict[str, Any]) -> Output:
    label = item.get("label")
    return Output(
        name=item["name"],
        shape=_shape(item["shape"]),
        dtype=item["dtype"],
        label=(
            Tensor(item["name"], _shape(label["shape"]), label["dtype"])
            if label
            else None
        ),
        loss=str(item.get("loss") or ""),
        accuracy=bool(item.get("accuracy", False)),
        from_logits=bool(item.get("from_logits", False)),
    )


def _shape(values: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _data_spec(config: dict[str, Any]) -> DataSpec:
    """Of a file that may be of a time when it had no `class_names`."""
    preprocess = config["preprocess"] or {}
    matrix, offset = (
        (preprocess["matrix"], preprocess["offset"]) if preprocess else ((), ())
    )
    try:
        return DataSpec(config.get("class_names") or (), matrix, offset)
    except DataError as error:  # as of any value that cannot be
        raise ValueError(str(error)) from error
