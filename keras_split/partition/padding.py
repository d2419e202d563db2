"""Whether zeros behind sequences change what a model makes of them."""

from typing import Any

import keras
import numpy as np

from keras_split.errors import CutError
from keras_split.partition.graph import Graph
from keras_split.partition.graph import Tensor
from keras_split.utils import keras_private

_TOLERANCE = 1e-3  # of the largest number; halves of float16 make more
_ROUGH_TOLERANCE = 3e-2


def check_padding(model: keras.Model, short: int, long: int) -> None:
    """Refuses a model that does not leave zeros out that sequences end with.

    It is tried: a sequence as it is, and the same one padded, must have the
    same outputs and the same losses. All of its integers are 1, which a mask
    has where there is something. What shows in training alone is not seen,
    but for batch normalization, which counts what is padded.

    Args:
        model: A functional model whose sequences have any length.
        short: A length.
        long: To which that is padded.

    Raises:
        CutError: If it is such a one.
    """
    graph = Graph(model)
    for call in graph.calls:
        counts = isinstance(call.operation, keras.layers.BatchNormalization)
        if counts and None in call.inputs[0].shape:
            raise _refusal(
                f"the batch normalization {call.path!r}, whose statistics "
                "count them"
            )
    if any(tensor.optional or tensor.spec.sparse for tensor in graph.inputs):
        return
    rng = np.random.default_rng(0)
    whole = [_example(tensor, short, rng) for tensor in graph.inputs]
    padded = [
        _padded(x, tensor, long - short)
        for x, tensor in zip(whole, graph.inputs, strict=True)
    ]
    kinds = [getattr(layer, "compute_dtype", "") for layer in model.layers]
    half = any("16" in str(kind) for kind in kinds)
    tolerance = _ROUGH_TOLERANCE if half else _TOLERANCE
    expected, loss = _made(model, whole)
    found, other_loss = _made(model, padded)
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        window = tuple(slice(n) for n in one.shape)
        if not _alike(one, other[window], tolerance):
            name = graph.outputs[number].name
            raise _refusal(f"another {name!r}, so some layer counts them")
    if not _alike(np.array(loss), np.array(other_loss), tolerance):
        raise _refusal("another loss of activations")


def _refusal(received: str) -> CutError:
    return CutError(
        "Expected a model whose layers leave out the zeros that sequences are "
        f"padded with, for several lengths. Received: {received}. Have its "
        "layers read a padding mask, an input that is 1 where there is a "
        "token, as the models of keras_hub do; or give the model one length "
        "and pad yourself: keras_split.fix_length(model, length)."
    )


def _example(tensor: Tensor, length: int, rng: Any) -> Any:
    """One example of an input."""
    shape = [1, *(length if n is None else n for n in tensor.shape)]
    dtype = str(tensor.spec.dtype)
    if "float" not in dtype or tensor.name.endswith("mask"):
        return np.ones(shape, "int32" if "float" not in dtype else "float32")
    return rng.standard_normal(shape, "float32")


def _padded(x: Any, tensor: Tensor, count: int) -> Any:
    behind = [count if n is None else 0 for n in tensor.shape]
    return np.pad(x, [(0, 0), *((0, n) for n in behind)])


def _made(model: keras.Model, inputs: list[Any]) -> tuple[list[Any], float]:
    """Outputs and the losses that layers add, in inference mode."""
    flat = iter(inputs)
    given = keras.tree.map_structure(
        lambda _: keras.ops.convert_to_tensor(next(flat)),
        keras_private.inputs_struct(keras_private.functional(model)),
    )
    outputs = keras.tree.flatten(model(given, training=False))
    losses = [float(loss) for loss in model.losses]
    return [
        keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))
        for x in outputs
    ], sum(losses)


def _alike(one: Any, other: Any, tolerance: float) -> bool:
    if one.shape != other.shape:
        return False
    room = tolerance * max(float(np.abs(one).max(initial=0)), 1e-6)
    return bool(np.abs(one - other).max(initial=0) <= room)
