"""Runs calls of one graph again, to make a part of another graph."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras

from keras_split.partition.graph import Call
from keras_split.partition.graph import Graph
from keras_split.partition.graph import Nested
from keras_split.partition.graph import Tensor
from keras_split.partition.shapes import as_made
from keras_split.utils import keras_private

Member = Call | Nested


def replay(
    members: Sequence[Member],
    made: dict[Tensor, Any],
    stays_whole: Callable[[Nested], bool],
    operation: Callable[[Member], Any],
) -> None:
    """Runs members of a graph, in order, on other symbolic tensors.

    What they make has the shapes that it has, not those that layers say.

    Args:
        members: Calls, and nested models.
        made: What stands for each tensor of their graph; those that they make
            are added.
        stays_whole: Whether a nested model is called as one; else the
            members that it is made of are.
        operation: What is called for a member; None to leave it out.
    """

    def fill(value: Any) -> Any:
        return made[value] if isinstance(value, Tensor) else value

    for member in members:
        if isinstance(member, Nested) and not stays_whole(member):
            replay(member.members, made, stays_whole, operation)
            continue
        called = operation(member)
        if called is None:
            continue
        args, kwargs = keras.tree.map_structure(
            fill, (member.args, member.kwargs)
        )
        with as_made(called, member.operation):
            results = keras.tree.flatten(called(*args, **kwargs))
        made.update(zip(member.outputs, results, strict=True))


def rebuilt(
    model: keras.Model,
    graph: Graph,
    shape: Callable[[Tensor], tuple[int | None, ...]],
    operation: Callable[[Member], Any],
) -> keras.Model:
    """A functional model of the same layers, nested models opened up.

    Args:
        model: A functional model; inputs and outputs are structured as its.
        graph: Its graph.
        shape: Of an input, with the batch axis.
        operation: As in `replay`.

    Raises:
        ValueError: What Keras says of shapes and names.
    """
    made: dict[Tensor, Any] = {
        tensor: keras.Input(
            batch_shape=shape(tensor),
            dtype=tensor.spec.dtype,
            sparse=tensor.spec.sparse,
            name=tensor.name,
            optional=tensor.optional,
        )
        for tensor in graph.inputs
    }
    given = iter([*made.values()])
    structure = keras_private.inputs_struct(keras_private.functional(model))
    inputs = keras.tree.map_structure(lambda _: next(given), structure)
    replay(graph.members, made, lambda _: False, operation)
    flat = iter([made[tensor] for tensor in graph.outputs])
    packed = keras.tree.map_structure(
        lambda _: next(flat), keras_private.outputs_struct(model)
    )
    return keras.Model(inputs, packed, name=model.name)
