"""Head, body and tail, one behind the other: an ordinary Keras model."""

import copy
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras

from keras_split.errors import DataError
from keras_split.models.io_map import Wiring
from keras_split.partition.bottleneck import is_wrapped
from keras_split.partition.graph import Graph
from keras_split.partition.graph import Nested
from keras_split.partition.graph import Tensor
from keras_split.partition.replay import Member
from keras_split.partition.replay import replay
from keras_split.utils import keras_private

_Variables = list[keras.Variable]


def assemble(
    head: keras.Model, body: keras.Model, tail: keras.Model | None, ends: Wiring
) -> tuple[keras.Model, tuple[_Variables, _Variables]]:
    """A copy of the segments as one model, with layers of Keras alone.

    Its layers lie side by side, as in the model that was cut. One that head
    and tail share is one again. A nested model stays one unless it was cut
    inside, or one of its layers is called elsewhere as well.

    Args:
        head: The head as a functional model.
        body: The body.
        tail: The tail; None for a model that was cut once.
        ends: Which inputs and outputs belong together.

    Returns:
        The model; and variables of the segments, and their copies.

    Raises:
        DataError: If a segment cannot be copied, or an input is not known.
    """
    segments = [s for s in (head, body, tail) if s is not None]
    graphs = [Graph(_copied(segment)) for segment in segments]
    parts = _Parts(segments, graphs)
    configs = dict(ends.unread)
    raw_inputs = (
        tail.inputs[len(tail.inputs) - len(ends.tail_inputs) :] if tail else []
    )
    for numbers, tensors in (
        (ends.head_inputs, head.inputs),
        (ends.tail_inputs, raw_inputs),
    ):
        for number, tensor in zip(numbers, tensors, strict=True):
            config = keras_private.made_by(tensor).get_config()
            configs[ends.inputs[number]] = config
    given = [_input(name, configs.get(name)) for name in ends.inputs]
    last = graphs[-1].outputs
    names = _output_names(last, ends, segments[-1])
    parts.name_apart([*ends.inputs, *filter(None, names)])

    made = parts.run(0, [given[i] for i in ends.head_inputs])
    skipped = [made[i] for i in ends.skips]
    shared = [given[ends.head_inputs[i]] for i in ends.shared]
    count = len(body.inputs) - len(shared)
    made = parts.run(1, [*made[:count], *shared])
    if tail is not None:
        raw = [given[i] for i in ends.tail_inputs]
        made = parts.run(2, [*made, *skipped, *raw])
    outputs = [
        keras.layers.Identity(name=name)(tensor) if name else tensor
        for name, tensor in zip(names, made, strict=True)
    ]
    by_name = dict(zip(ends.inputs, given, strict=True))
    inputs = keras.tree.map_structure(
        by_name.__getitem__, ends.structure or ends.inputs
    )
    whole = keras.Model(inputs, ends.pack(outputs), name="whole")
    return whole, (parts.originals, parts.copies)


class _Parts:
    """Copies of segments, and what each of their calls is in the whole.

    Args:
        segments: Head, body and tail.
        graphs: That of a copy of each.

    Attributes:
        originals: Variables of the segments.
        copies: Those that they became, in the same order.
    """

    def __init__(
        self, segments: Sequence[keras.Model], graphs: Sequence[Graph]
    ) -> None:
        self._graphs = graphs
        # Of the copies of a layer that several segments call, the first.
        first: dict[int, Any] = {}
        self._operations: dict[int, Any] = {}
        # Kept, for what tells layers apart is where they lie in memory.
        self._kept = [Graph(segment) for segment in segments]
        self.originals: _Variables = []
        self.copies: _Variables = []
        for original, graph in zip(self._kept, graphs, strict=True):
            known = {m.path: m.operation for m in _all(original.members)}
            for member in _all(graph.members):
                mine = member.operation
                twin = known.get(member.path, mine)
                copied = first.setdefault(id(twin), mine)
                self._operations[id(mine)] = copied
                self.originals += getattr(twin, "variables", [])
                self.copies += getattr(copied, "variables", [])
        # For each layer the nested models through which it is called.
        self._callers: dict[int, set[int]] = {}
        for segment, graph in zip(segments, graphs, strict=True):
            for member in _unwrapped(segment, graph.members):
                nested = isinstance(member, Nested)
                caller = id(self._operation(member)) if nested else 0
                for call in _calls(member):
                    key = id(self._operation(call))
                    self._callers.setdefault(key, set()).add(caller)

    def name_apart(self, taken: Sequence[str]) -> None:
        """Gives each layer a name of its own.

        Those of a nested model that was cut inside lie beside others now.

        Args:
            taken: Names that none of them may have.
        """
        names, named = set(taken), set[int]()
        for graph in self._graphs:
            for member in self._members(graph.members):
                operation = self._operation(member)
                if id(operation) in named:
                    continue
                name, count = operation.name, 0
                while operation.name in names:
                    count += 1
                    operation.name = f"{name}_{count}"
                names.add(operation.name)
                named.add(id(operation))

    def run(self, number: int, inputs: Sequence[Any]) -> list[Any]:
        """Outputs of a segment for inputs of the whole's graph."""
        graph = self._graphs[number]
        made: dict[Tensor, Any] = dict(zip(graph.inputs, inputs, strict=True))
        replay(graph.members, made, self._stays_whole, self._operation)
        return [made[tensor] for tensor in graph.outputs]

    def _operation(self, member: Member) -> Any:
        return self._operations[id(member.operation)]

    def _stays_whole(self, nested: Nested) -> bool:
        # Keras cannot load a layer that is both in a model and beside it.
        alone = {id(self._operation(nested))}
        calls = list(_calls(nested))
        return bool(calls) and all(
            self._callers[id(self._operation(call))] == alone for call in calls
        )

    def _members(self, members: Sequence[Member]) -> Iterator[Member]:
        """What is called, without what is inside of nested models."""
        for member in members:
            if isinstance(member, Nested) and not self._stays_whole(member):
                yield from self._members(member.members)
            else:
                yield member


def _copied(segment: keras.Model) -> keras.Model:
    """A segment with layers and weights of its own, as if saved and loaded.

    Raises:
        DataError: If it has parts that Keras cannot bring back.
    """
    mine = {
        type(layer).__name__: type(layer)
        for layer in keras_private.flatten_layers(segment)
    }
    try:
        with keras.saving.custom_object_scope(mine):
            made: keras.Model = copy.deepcopy(segment)
    except Exception as error:  # whatever a get_config of others raises
        # Keras tells all configs first, and the reason at the end.
        reason = str(error).rpartition("Exception encountered: ")[2]
        reason = reason.partition("\n")[0]
        raise DataError(
            "Expected layers that Keras can save and load. Received: one in "
            f"the {segment.name} that it cannot ({reason}). Register classes "
            "and functions of your own with "
            "keras.saving.register_keras_serializable()."
        ) from error
    return made


def _input(name: str, config: dict[str, Any] | None) -> Any:
    """An input of the whole, like that of a segment."""
    if config is None:
        raise DataError(
            f"Expected to know the shape of the input {name!r}. Received: "
            "halves of an older version, which did not keep that of inputs "
            "that no layer reads. Cut the model again, and load the weights."
        )
    return keras.Input(**config | {"name": name})


def _output_names(
    outputs: Sequence[Tensor], ends: Wiring, segment: keras.Model
) -> list[str]:
    """For each output the name that is not that of the layer that makes it.

    It was that of a nested model which is a row of layers now. Empty where
    the names are the same, or it is that of a segment in bottlenecks.
    """
    if len(ends.output_names) != len(outputs):
        return [""] * len(outputs)
    known = [segment.name] if is_wrapped(segment, segment) else []
    return [
        ""
        if name in (keras_private.made_by(tensor.spec).name, *known)
        else name
        for tensor, name in zip(outputs, ends.output_names, strict=True)
    ]


def _unwrapped(
    segment: keras.Model, members: Sequence[Member]
) -> Iterator[Member]:
    """The members of a segment, without the model in its bottlenecks."""
    for member in members:
        if isinstance(member, Nested) and is_wrapped(segment, member.operation):
            yield from member.members
        else:
            yield member


def _all(members: Sequence[Member]) -> Iterator[Member]:
    for member in members:
        yield member
        if isinstance(member, Nested):
            yield from _all(member.members)


def _calls(member: Member) -> Iterator[Any]:
    if isinstance(member, Nested):
        yield from member.calls()
    else:
        yield member
