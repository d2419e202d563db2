"""The fingerprint of a cut model: architecture and cut, not weight values."""

import hashlib
import json
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_split.partition.graph import Call
from keras_split.partition.graph import Graph
from keras_split.partition.graph import Tensor

# Where a config names layers: its own, and in one of a nested model those that
# its calls go to.
_NAMING = ("name", "input_layers", "output_layers", "inbound_nodes")


def fingerprint(
    graph: Graph,
    segment_of: Mapping[Call, str],
    edges: Sequence[Sequence[Tensor]],
    lengths: Sequence[int] = (),
) -> str:
    """Hashes what two builds of one architecture and cut have in common.

    Names that Keras makes up are left out, for they count on with every
    model that a process builds.

    Args:
        graph: The calls of the model.
        segment_of: The segment that runs each call.
        edges: The tensors that cross between segments, edge by edge.
        lengths: Of sequences, where there are several.

    Returns:
        32 hexadecimal digits.
    """
    numbers = {t: f"in{i}" for i, t in enumerate(graph.inputs)}
    rows: list[Any] = [[_type(t) for t in graph.inputs]]
    for call in graph.calls:
        for tensor in call.outputs:
            numbers[tensor] = f"{call.order}:{tensor.index}"
        arguments = keras.tree.map_structure(
            lambda value: (
                numbers.get(value, value)
                if isinstance(value, Tensor)
                else _canonical(value)
            ),
            [list(call.args), call.kwargs],
        )
        rows.append(
            [
                type(call.operation).__name__,
                segment_of[call],
                arguments,
                _config(call.operation),
                [_type(tensor) for tensor in call.outputs],
                [[str(v.shape), str(v.dtype)] for v in call.variables],
            ]
        )
    for edge in edges:
        rows.append([numbers[tensor] for tensor in edge])
    if lengths:
        rows.append(["lengths", *lengths])
    text = json.dumps(rows, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _type(tensor: Tensor) -> list[str]:
    return [str(tensor.spec.shape), str(tensor.spec.dtype)]


def _config(operation: Any) -> Any:
    """The config of an operation, independent of names counted up by Keras."""
    try:
        config = keras.saving.serialize_keras_object(operation)["config"]
    except Exception:  # whatever the code of a layer of others raises
        return None  # no config: its class and variables must do
    names: dict[str, str] = {}
    _collect_names(config, names)
    return _canonical(config, names)


def _collect_names(value: Any, names: dict[str, str]) -> None:
    if isinstance(value, dict):
        if value.get("class_name") == "DTypePolicy":
            return  # its name says what it is
        name = value.get("name")
        if isinstance(name, str):
            names.setdefault(name, f"name {len(names)}")
        for item in value.values():
            _collect_names(item, names)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _collect_names(item, names)


def _canonical(
    value: Any, names: Mapping[str, str] | None = None, named: bool = False
) -> Any:
    """Plain values that are equal for two builds of one architecture.

    Args:
        value: Of a config.
        names: What stands for names.
        named: Whether strings here are names: a layer that is called `relu`
            may have an activation of that word.
    """
    names = names or {}
    if isinstance(value, dict):
        return {
            str(key): _canonical(item, names, named or key in _NAMING)
            for key, item in value.items()
            if key not in ("registered_name", "build_config")
        }
    if isinstance(value, (list, tuple)):
        return [_canonical(item, names, named) for item in value]
    if isinstance(value, str):
        return names.get(value, value) if named else value
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    if isinstance(value, slice):
        return [str(value.start), str(value.stop), str(value.step)]
    if hasattr(value, "__array__") and hasattr(value, "dtype"):
        array = np.asarray(value)
        digest = hashlib.sha256(array.tobytes()).hexdigest()
        return [str(array.shape), str(array.dtype), digest]
    return type(value).__name__
