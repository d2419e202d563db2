"""One batch as the .tflite wants it: checked, named, padded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_split.compression.shared import SharedSpec
from keras_split.device.description import Description
from keras_split.device.description import Tensor
from keras_split.device.row_padder import pad
from keras_split.errors import DataError
from keras_split.utils.counted import counted

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, eq=False)
class Batch:
    """Examples by the names that the signatures use.

    Attributes:
        count: How many there are; behind them the rows repeat the first.
        tensors: `x_0`, ..., and for training `y_0`, `sample_weight_0`, ...,
            each with `batch_size` rows, and `count`.
    """

    count: int
    tensors: Arrays

    @classmethod
    def of(
        cls,
        description: Description,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        labeled: bool = True,
    ) -> "Batch":
        """Makes a batch of what Keras would take.

        Args:
            description: Says which tensors there are.
            x: An array, or a list, tuple or dict of them, one an input.
            y: Labels, likewise, one an output.
            sample_weight: Shape `(batch,)`; for several outputs also a list,
                tuple or dict; None for weights of 1.
            labeled: Whether labels are needed.

        Raises:
            DataError: If an array is missing or does not fit.
        """
        flat = _flat(x, description.inputs, "x")
        count = len(flat[0]) if flat[0].ndim else 0
        size = description.batch_size
        if not 1 <= count <= size:
            raise DataError(
                f"Expected a batch of 1 to {size} examples, for which this "
                f".tflite was exported. Received: {count}. Cut it with "
                "keras_split.device.batches(x, y, client.batch_size), or "
                "export with another batch_size."
            )
        shared = {spec.name: spec for spec in description.contract.shared}
        tensors: Arrays = {}
        for i, (value, spec) in enumerate(
            zip(flat, description.inputs, strict=True)
        ):
            tensors[f"x_{i}"] = _fitted(value, spec, count, "input")
            if spec.name in shared:
                _check_packing(tensors[f"x_{i}"], shared[spec.name])
        if labeled:
            tensors |= _labels(description, y, count)
            tensors |= _weights(description, sample_weight, count)
        tensors = {name: pad(value, size) for name, value in tensors.items()}
        tensors["count"] = np.array(count, np.int32)
        return cls(count, tensors)


def _check_packing(value: np.ndarray[Any, Any], spec: SharedSpec) -> None:
    """Refuses numbers that would cross as others."""
    if spec.range is not None:
        least, largest = spec.range
        if value.min() < least or value.max() > largest:
            raise spec.refusal()


def _labels(description: Description, y: Any, count: int) -> Arrays:
    if y is None:
        raise DataError(
            "Expected labels. Received: none. Give batches of (x, y) or "
            "(x, y, sample_weight)."
        )
    flat = _flat(y, description.outputs, "y")
    tensors = {}
    for i, (value, output) in enumerate(
        zip(flat, description.outputs, strict=True)
    ):
        if output.label is None:
            raise DataError(
                "Expected a .tflite that trains. Received: one for inference. "
                "Export it with client.export('client.tflite')."
            )
        label = _fitted(value, output.label, count, "label")
        if label.dtype.kind == "i":  # numbers of classes
            classes = output.shape[-1]
            low, high = label.min(), label.max()
            if low < 0 or high >= classes:
                raise DataError(
                    f"Expected labels from 0 to {classes - 1} for output "
                    f"{output.name!r}. Received: {low} to {high}. Look at the "
                    "labels, or export a model with more classes."
                )
        tensors[f"y_{i}"] = label
    return tensors


def _weights(
    description: Description, sample_weight: Any, count: int
) -> Arrays:
    outputs = description.outputs
    flat: Sequence[Any]
    if sample_weight is None:
        flat = [np.ones(count, np.float32)] * len(outputs)
    elif isinstance(sample_weight, (dict, list, tuple)):
        flat = _flat(sample_weight, outputs, "sample_weight")
    else:  # one weight an example counts for every output, as in Keras
        flat = [np.asarray(sample_weight)] * len(outputs)
    return {
        f"sample_weight_{i}": _fitted(
            value, Tensor(output.name, (), "float32"), count, "sample weight"
        )
        for i, (value, output) in enumerate(zip(flat, outputs, strict=True))
    }


def _flat(values: Any, specs: Sequence[Any], what: str) -> list[Any]:
    """Arrays in the order of `specs`, from what Keras would take."""
    names = [spec.name for spec in specs]
    if isinstance(values, dict):
        missing = [name for name in names if name not in values]
        if missing:
            raise DataError(
                f"Expected {what} with {names}. Received: "
                f"{sorted(map(str, values))}; {missing} are missing."
            )
        return [_array(values[name], what) for name in names]
    if len(names) == 1:
        if (
            isinstance(values, (list, tuple))
            and len(values) == 1
            and isinstance(values[0], np.ndarray)
        ):
            values = values[0]
        return [_array(values, what)]
    if not isinstance(values, (list, tuple)) or len(values) != len(names):
        came = (
            counted(len(values), "array")
            if isinstance(values, (list, tuple))
            else type(values).__name__
        )
        raise DataError(
            f"Expected {what} as {len(names)} arrays, {names}, in a list, "
            f"tuple or dict. Received: {came}."
        )
    return [_array(value, what) for value in values]


def _array(values: Any, what: str) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise DataError(
            f"Expected {what} as an array. Received: "
            f"{type(values).__name__} ({error}). Give every example the same "
            "shape."
        ) from error


def _fitted(
    value: np.ndarray[Any, Any], spec: Tensor, count: int, what: str
) -> np.ndarray[Any, Any]:
    """An array of the dtype and shape that the .tflite takes."""
    expected = (count, *spec.shape)
    if value.shape != expected and what != "input":
        # As Keras does: a last axis of 1 may be there or not.
        if value.shape == (*expected, 1):
            value = value[..., 0]
        elif (*value.shape, 1) == expected:
            value = value[..., np.newaxis]
    if value.shape != expected or value.dtype.kind not in "buif":
        raise DataError(
            f"Expected {what} {spec.name!r} as {spec.dtype} of shape "
            f"{('batch', *spec.shape)}, the same batch of {count} in all. "
            f"Received: {value.dtype} of shape {value.shape}. "
            + (
                "client.preprocess makes images what the model takes."
                if what == "input" and len(spec.shape) == 3
                else "Look at how the batch is made."
            )
        )
    dtype = np.dtype(spec.dtype)
    if value.dtype == dtype:
        return np.ascontiguousarray(value)
    with np.errstate(invalid="ignore"):
        cast = value.astype(dtype)
    if dtype.kind in "biu" and not np.array_equal(cast, value):
        raise DataError(
            f"Expected {what} {spec.name!r} as whole numbers that fit "
            f"{spec.dtype}. Received: {value.dtype} from {value.min()} to "
            f"{value.max()}. Look at how the batch is made."
        )
    return np.ascontiguousarray(cast)
