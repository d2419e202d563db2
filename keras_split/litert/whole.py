"""Writes a whole model as a LiteRT file that infers by itself."""

import hashlib
import keyword
import os
import re
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.errors import ExportError
from keras_split.litert import contents
from keras_split.litert import silent
from keras_split.litert.calibration import filled
from keras_split.litert.convert import convert
from keras_split.litert.description import FORMAT
from keras_split.litert.export import write
from keras_split.litert.precision import check_precision
from keras_split.litert.precision import reduce_precision
from keras_split.partition.pairing import in_order
from keras_split.protocol.data_spec import DataSpec
from keras_split.protocol.moment import Moment
from keras_split.training.scopes import give_valid_scopes
from keras_split.utils import keras_private
from keras_split.utils.version import __version__

SIGNATURE = "serving_default"
_Array = np.ndarray[Any, Any]


def export_whole(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    batch_size: int = 1,
    precision: str = "float32",
    calibration: Any = None,
    data_spec: DataSpec | None = None,
    moment: Moment | None = None,
) -> dict[str, Any]:
    """Writes a .tflite that predicts as a whole model does, and a .json.

    It needs LiteRT and nothing else: one signature, `"serving_default"`, and
    operations that LiteRT has built in. Inputs and predictions are as in
    Keras at each precision. The .json beside it says what an app must know:
    inputs, outputs, names of the classes, and what is done to images. An input
    or output whose name a signature cannot have, such as `in` or `größe`, has
    another there, and its own beside it as `keras_name`.

    Args:
        model: A functional model, such as `keras_split.join` returns.
        path: Where to write; ends in .tflite.
        batch_size: Rows of every tensor in the file.
        precision: `"float32"`; `"float16"` for weights of half the size;
            `"dynamic"` for int8 weights; `"int8"` for int8 activations too.
        calibration: For `"int8"`, about 100 inputs of the model: an array, or
            the structure that the model takes.
        data_spec: Classes and preprocessing: `client.data_spec`.
        moment: Of which training it is: `client.moment`.

    Returns:
        The content of the .json.

    Raises:
        ExportError: If it cannot be exported; nothing is written.
        BackendError: If ai-edge-quantizer is needed and missing.
    """
    target = Path(path)
    if target.suffix != ".tflite" or batch_size < 1:
        raise ExportError(
            "Expected a file name that ends in .tflite and a batch_size of 1 "
            f"or more. Received: {str(target)!r}, {batch_size}."
        )
    check_precision(precision, calibration)
    inputs, outputs = _names(model)
    specs = {
        name: tf.TensorSpec((batch_size, *tensor.shape[1:]), tensor.dtype)
        for name, tensor in zip(inputs, model.inputs, strict=True)
    }
    # Constants are folded, and do not stay in the file as variables.
    values = [(v, tf.constant(v.numpy())) for v in model.variables]

    give_valid_scopes(model)

    def predict(**given: tf.Tensor) -> dict[str, tf.Tensor]:
        scope = keras.StatelessScope(values)
        packed = keras.tree.pack_sequence_as(
            keras_private.inputs_struct(model), [given[n] for n in inputs]
        )
        watched = silent.watched(scope, [v for v, _ in values])
        with scope, watched:
            made = keras.tree.flatten(model(packed, training=False))
        silent.check_rows(model, made, batch_size)
        return dict(zip(outputs, made, strict=True))

    layers = {
        layer.name: type(layer).__name__
        for layer in keras_private.flatten_layers(model, include_self=False)
    }
    try:
        content = convert(tf.Module(), {SIGNATURE: (predict, specs)}, layers)
    except ExportError as error:
        raise ExportError(
            f"{error} Of a whole model the server's layers count, too: save "
            "it as .keras where they cannot be replaced."
        ) from error
    observed = None
    if precision == "int8":
        arrays = _examples(model, calibration)
        observed = {
            SIGNATURE: [
                {
                    name: filled(array[i : i + batch_size], batch_size)
                    for name, array in zip(inputs, arrays, strict=True)
                }
                for i in range(0, len(arrays[0]), batch_size)
            ]
        }
    content = reduce_precision(content, precision, observed)
    described = {
        **describe_whole(model, data_spec, moment),
        "precision": precision,
        "batch_size": batch_size,
        "signatures": contents.signatures(content),
        "tflite_sha256": hashlib.sha256(content).hexdigest(),
    }
    return write(target, content, described)


def describe_whole(
    model: keras.Model,
    data_spec: DataSpec | None = None,
    moment: Moment | None = None,
) -> dict[str, Any]:
    """What an app must know of a model beside its file, as plain values."""
    spec = (data_spec or DataSpec()).get_config()
    names = spec.pop("class_names")
    own = [tensor.name for tensor in model.inputs]
    inputs, outputs = _names(model)
    return {
        "format": FORMAT,
        "keras_split": __version__,
        "mode": "whole",
        "moment": moment.get_config() if moment else None,
        "inputs": _rows(inputs, own, model.inputs),
        "outputs": _rows(outputs, model.output_names, model.outputs),
        "class_names": names,
        "preprocess": spec if spec["matrix"] else None,
    }


def _rows(
    names: Sequence[str], own: Sequence[str], tensors: Sequence[Any]
) -> list[dict[str, Any]]:
    """What is said of each input or output.

    Args:
        names: In the signature.
        own: In Keras, which is told where it is another.
        tensors: The inputs or outputs themselves.
    """
    return [
        {
            "name": n,
            **({} if n == o else {"keras_name": o}),
            "shape": list(t.shape[1:]),
            "dtype": str(t.dtype),
        }
        for n, o, t in zip(names, own, tensors, strict=True)
    ]


def _names(model: keras.Model) -> tuple[list[str], list[str]]:
    """Names of inputs and outputs, as a signature may have them."""
    inputs: list[str] = []
    for tensor in model.inputs:
        name = re.sub(r"\W", "_", tensor.name, flags=re.ASCII)
        # They become arguments in Python and, in small letters, nodes.
        reserved = keyword.iskeyword(name) or name == "self"
        if reserved or not name[:1].isalpha():
            name = f"x_{name}"
        inputs.append(_unlike(name, inputs, str.lower))
    outputs: list[str] = []
    for name in model.output_names:
        name = re.sub(r"\W", "_", name, flags=re.ASCII)
        outputs.append(_unlike(name, outputs))
    return inputs, outputs


def _unlike(
    name: str, others: Sequence[str], fold: Callable[[str], str] = str
) -> str:
    """The name, with a number where another is the same once folded."""
    taken = {fold(other) for other in others}
    found, number = name, len(others)
    while fold(found) in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _examples(model: keras.Model, data: Any) -> list[_Array]:
    """Examples, one array for each input of the model."""
    names = keras.tree.map_structure(
        lambda tensor: tensor.name, keras_private.inputs_struct(model)
    )
    found = [np.asarray(array) for array in in_order(names, data) or ()]
    expected = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if [array.shape[1:] for array in found] != expected or (
        len({len(array) for array in found}) != 1 or not len(found[0])
    ):
        raise ExportError(
            "Expected calibration examples, one array for each input, of "
            f"shapes {expected}. Received: {[a.shape[1:] for a in found]}. "
            "Pass 100 or more real inputs, scaled as for training."
        )
    return [
        array.astype(tensor.dtype)
        for array, tensor in zip(found, model.inputs, strict=True)
    ]
