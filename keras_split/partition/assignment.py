"""Which part of a cut model runs each call, or why that cannot be."""

from collections.abc import Collection

import keras

from keras_split.partition.graph import Call
from keras_split.partition.graph import Graph
from keras_split.partition.graph import Tensor
from keras_split.utils import keras_private


class Problem(Exception):
    """Why a model cannot be cut somewhere."""


def assign(
    graph: Graph,
    ends: list[list[Tensor]],
    shared: Collection[Tensor] = (),
) -> dict[Call, str]:
    """Maps each call to its segment, or raises a `Problem`.

    Args:
        graph: To be cut.
        ends: The tensors of each cut.
        shared: Inputs that the server may have.
    """
    if any(tensor.call is None for tensor in ends[0]):
        raise Problem(
            "that is an input of the model, and raw data must not leave the "
            "phone"
        )
    head = ancestors(ends[0])
    if len(ends) == 2:
        body = ancestors(ends[1]) - head
        if not body:
            raise Problem(
                "the second cut is not behind the first, so nothing is left "
                "for the server"
            )
    else:
        body = set(graph.calls) - head
        if not body:
            raise Problem("that is the end of the model, nothing is left")
    segment = {
        call: "head" if call in head else "body" if call in body else "tail"
        for call in graph.calls
    }
    if not any(t.call in head for call in body for t in call.inputs):
        raise Problem("the second cut does not depend on the first")
    for call in graph.calls:
        for tensor in call.inputs:
            if (
                segment[call] == "body"
                and tensor.call is None
                and tensor not in shared
            ):
                masked = [
                    graph.masks[t] for t in call.outputs if t in graph.masks
                ]
                if masked:
                    raise Problem(mask_travels(masked[0]))
                raise Problem(
                    f"{call.path!r} would run on the server and reads the "
                    f"model input {tensor.name!r}, and raw data must not "
                    "leave the phone; where the server may have this input, "
                    f"say so with share=[{tensor.name!r}]"
                )
    if len(ends) == 1:
        for tensor in graph.outputs:
            if tensor.call is None or segment[tensor.call] == "head":
                raise Problem(
                    f"the model's output {tensor.name!r} is made on the "
                    "phone, which takes two cuts"
                )
    for call in body:
        if keras_private.is_stateful(call.operation):
            raise Problem(
                f"layer {call.path!r} is stateful and would run on the "
                "server, which would mix the states of all clients"
            )
    for call in graph.calls:
        layer = call.operation
        if isinstance(layer, keras.layers.SpectralNormalization):
            if layer.trainable:
                raise Problem(
                    f"layer {call.path!r} assigns a weight that is trained, "
                    "which no part of a model can; freeze it or leave it out"
                )
    on_server = {id(v) for call in body for v in call.variables}
    for call in graph.calls:
        if segment[call] != "body":
            if any(id(v) in on_server for v in call.variables):
                raise Problem(
                    f"layer {call.operation.name!r} has weights or a seed and "
                    "would be called on the phone and on the server"
                )
    return segment


def mask_travels(tensor: Tensor) -> str:
    """Why a cut cannot be where the mask of a tensor would cross."""
    return (
        f"the mask of {tensor.name!r} would be needed on the other side, and a "
        "mask does not travel; cut behind the layer that consumes it"
    )


def ancestors(tensors: list[Tensor]) -> set[Call]:
    """The calls that the tensors need, those that make them included."""
    found: set[Call] = set()
    waiting = [t.call for t in tensors if t.call is not None]
    while waiting:
        call = waiting.pop()
        if call not in found:
            found.add(call)
            waiting.extend(t.call for t in call.inputs if t.call is not None)
    return found
