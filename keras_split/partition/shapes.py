"""The shapes that layers make, whatever they say.

Keras asks a layer for the shape of what it makes, and believes the answer of
a `compute_output_shape`; a model runs all the same if that is wrong. What
crosses a cut is held to its shape.
"""

import contextlib
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras

from keras_split.errors import CutError
from keras_split.partition.graph import Call
from keras_split.partition.graph import Graph
from keras_split.partition.graph import Tensor
from keras_split.utils import keras_private

_SOME_BATCH = 2
_ASKED = ("compute_output_shape", "compute_output_spec")
_OURS = ("keras", "keras_split")
# Of Keras, and what they say comes from somebody else.
_OTHERS = (keras.layers.Lambda, keras.layers.Wrapper)
# A planner cuts one model a hundred times.
_CHECKED: weakref.WeakSet[keras.Model] = weakref.WeakSet()


def check_shapes(model: keras.Model, graph: Graph) -> None:
    """Refuses a model of which a layer makes another shape than it says.

    Keras' own layers are believed.

    Args:
        model: To be cut.
        graph: Its graph.

    Raises:
        CutError: If there is one, with both shapes.
    """
    if model in _CHECKED:
        return
    for call in graph.calls:
        if not _is_asked(call.operation):
            continue
        args, kwargs = keras.tree.map_structure(
            lambda value: value.spec if isinstance(value, Tensor) else value,
            (call.args, call.kwargs),
        )
        made = _made(call.operation, args, kwargs)
        if len(made) == len(call.outputs):
            for tensor, spec in zip(call.outputs, made, strict=True):
                _check(call, tensor.shape, tuple(spec.shape[1:]))
    _CHECKED.add(model)


@contextlib.contextmanager
def as_made(*operations: Any) -> Iterator[None]:
    """Has Keras go by what layers make, where they are called for a while.

    Args:
        *operations: Layers, for them and those that they call; others are
            left alone.
    """
    layers = {
        id(layer): layer
        for operation in operations
        if isinstance(operation, keras.layers.Layer)
        for layer in keras_private.flatten_layers(operation)
        if _is_asked(layer)
    }
    with keras_private.overridden(
        [
            (layer, "compute_output_spec", partial(_spec, layer))
            for layer in layers.values()
        ]
    ):
        yield


def _is_asked(operation: Any) -> bool:
    """Whether Keras takes somebody's word for what an operation makes."""
    if not isinstance(operation, keras.layers.Layer):
        return False
    methods = [getattr(type(operation), name) for name in _ASKED]
    return isinstance(operation, _OTHERS) or any(
        method.__module__.partition(".")[0] not in _OURS for method in methods
    )


def _spec(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """What a layer says, with the shapes and dtypes that it makes."""
    says = type(layer).compute_output_spec(layer, *args, **kwargs)
    flat = keras.tree.flatten(says)
    made = _made(layer, args, kwargs)
    if [len(one.shape) for one in flat] != [len(one.shape) for one in made]:
        return says
    return keras.tree.pack_sequence_as(says, list(map(_sharper, flat, made)))


def _sharper(says: Any, makes: Any) -> Any:
    """What is made, for the batch of what is said."""
    sizes = zip(says.shape[1:], makes.shape[1:], strict=True)
    known = (a if b is None else b for a, b in sizes)
    shape = (*says.shape[:1], *known)
    return keras.KerasTensor(shape, makes.dtype, sparse=makes.sparse)


def _made(layer: Any, args: Any, kwargs: Any) -> list[Any]:
    """What the `call` of a layer makes of some batch; nothing if unknown."""

    def batch(value: Any) -> Any:
        if not isinstance(value, keras.KerasTensor) or not value.shape:
            return value
        shape = (value.shape[0] or _SOME_BATCH, *value.shape[1:])
        return keras.KerasTensor(shape, value.dtype, sparse=value.sparse)

    args, kwargs = keras.tree.map_structure(batch, (args, kwargs))
    try:
        made = keras.Operation.compute_output_spec(layer, *args, **kwargs)
    except Exception:  # whatever a layer of others raises for such a batch
        return []
    return [
        spec
        for spec in keras.tree.flatten(made)
        if isinstance(spec, keras.KerasTensor)
    ]


def _check(
    call: Call, says: tuple[int | None, ...], makes: tuple[int | None, ...]
) -> None:
    known = len(says) == len(makes) and all(
        None in (a, b) or a == b for a, b in zip(says, makes, strict=True)
    )
    if not known:
        raise CutError(
            "Expected layers that make what they say, for what crosses a cut "
            f"has a shape that both sides know. Received: {call.path!r} of "
            f"the class {type(call.operation).__name__}, whose "
            f"compute_output_shape says {says} for each example, and whose "
            f"call makes {makes}. Cut keras_split.fix_length(model, {{}}), "
            "which goes by what layers make."
        )
