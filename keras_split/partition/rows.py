"""How many rows the tensors of a model have for a batch.

A layer keeps the batch axis, but `ops.reshape(x, (-1, 4, 4, 1))` may fold
another axis into it. Such a tensor cannot cross: what is sent belongs to
examples.
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_split.partition.graph import Call
from keras_split.partition.graph import Graph
from keras_split.partition.graph import Tensor

# A prime, so that no axis of a model divides it.
_SOME_BATCH = 7919


def rows_per_batch(graph: Graph) -> dict[Tensor, float]:
    """Rows of each tensor for each example of a batch; 1 for most.

    0 for a tensor without any axis. Tensors are left out for which Keras
    cannot tell.
    """
    known = [t.spec.shape[0] for t in graph.inputs if t.spec.shape]
    batch = next((size for size in known if size is not None), _SOME_BATCH)
    rows: dict[Tensor, int | None] = {tensor: batch for tensor in graph.inputs}
    for call in graph.calls:
        given = [rows[tensor] for tensor in call.inputs]
        if _keeps_rows(call.operation) and given:
            made: Sequence[int | None] = [given[0]] * len(call.outputs)
        else:
            made = _rows_made(call, rows)
        rows.update(zip(call.outputs, made, strict=True))
    return {t: n / batch for t, n in rows.items() if n is not None}


def _keeps_rows(operation: Any) -> bool:
    """Whether it is a layer of Keras' own without code of others."""
    own = type(operation).__module__.partition(".")[0] == "keras"
    others = (
        *(keras.layers.Lambda, keras.layers.Wrapper, keras.Model),
        keras.layers.Concatenate,  # of batches, with axis=0
    )
    return (
        own
        and isinstance(operation, keras.layers.Layer)
        and not isinstance(operation, others)
    )


def _rows_made(
    call: Call, rows: dict[Tensor, int | None]
) -> Sequence[int | None]:
    """Rows of what a call makes, as Keras infers shapes."""

    def fill(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        shape = (rows[value], *value.spec.shape[1:])
        if not value.spec.shape:
            shape = ()
        return keras.KerasTensor(shape, value.spec.dtype)

    args, kwargs = keras.tree.map_structure(fill, (call.args, call.kwargs))
    try:
        specs = call.operation.compute_output_spec(*args, **kwargs)
    except Exception:  # whatever a layer of others raises for such a batch
        return [None] * len(call.outputs)
    shapes = [spec.shape for spec in keras.tree.flatten(specs)]
    return [shape[0] if shape else 0 for shape in shapes]
