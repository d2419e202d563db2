"""Runs calls of one graph again, to make a part of another graph."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras

from keras_split.partition.graph import Call
from keras_split.partition.graph import Nested
from keras_split.partition.graph import Tensor

Member = Call | Nested


def replay(
    members: Sequence[Member],
    made: dict[Tensor, Any],
    stays_whole: Callable[[Nested], bool],
    operation: Callable[[Member], Any],
) -> None:
    """Runs members of a graph, in order, on other symbolic tensors.

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
        results = keras.tree.flatten(called(*args, **kwargs))
        made.update(zip(member.outputs, results, strict=True))
