"""The graph of a model as numbers, in which sets of calls are bits."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_split.errors import CutError
from keras_split.partition.costs import call_multiply_adds
from keras_split.partition.costs import elements
from keras_split.partition.crossing import why_not
from keras_split.partition.graph import Call
from keras_split.partition.graph import Graph
from keras_split.partition.graph import Nested
from keras_split.partition.graph import Tensor
from keras_split.partition.partition import Partition
from keras_split.partition.rows import rows_per_batch
from keras_split.partition.shapes import check_shapes
from keras_split.planner.candidates import Part
from keras_split.planner.closed_sets import bits
from keras_split.utils import keras_private


@dataclass(frozen=True)
class Pair:
    """A cut as sets of calls.

    Attributes:
        head: The calls of the head.
        ahead: Those of head and body.
        single: Whether it is one cut, so that the server has the labels.
    """

    head: int
    ahead: int
    single: bool = False


class Net:
    """The graph of a model as numbers.

    Args:
        model: Functional or Sequential, built.
    """

    def __init__(self, model: keras.Model) -> None:
        self.graph = Graph(model)
        check_shapes(model, self.graph)
        self.calls = self.graph.calls
        self.order = {call: i for i, call in enumerate(self.calls)}
        rows = rows_per_batch(self.graph)
        self.readers: dict[Tensor, int] = {}
        parents = []
        for number, call in enumerate(self.calls):
            parents.append(
                sum({1 << self.order[t.call] for t in call.inputs if t.call})
            )
            for tensor in call.inputs:
                others = self.readers.get(tensor, 0)
                self.readers[tensor] = others | 1 << number
        self.parents = parents
        outputs = set(self.graph.outputs)
        self.outputs = outputs
        # What somebody reads, in the order in which a partition lists it.
        self.tensors = [
            tensor
            for call in self.calls
            for tensor in call.outputs
            if tensor in self.readers or tensor in outputs
        ]
        self.stuck = {t: why_not(self.graph, rows, t) for t in self.tensors}
        self.children = [0] * len(self.calls)
        for number, read in enumerate(parents):
            for parent in bits(read):
                self.children[parent] |= 1 << number
        self.on_phone = self._on_phone()
        self.together = self._together()
        self.parts = self._parts()
        self.names_repeat = self._repeated_names()
        self._named: dict[Call, str] = {}

    @property
    def whole(self) -> int:
        """All calls."""
        return (1 << len(self.calls)) - 1

    def _on_phone(self) -> int:
        """The calls that a server may not run."""
        found = 0
        for number, call in enumerate(self.calls):
            raw = any(tensor.call is None for tensor in call.inputs)
            if raw or keras_private.is_stateful(call.operation):
                found |= 1 << number
        return found

    def _together(self) -> set[int]:
        """Sets of calls that share variables, so that one party runs all."""
        users: dict[int, int] = {}
        for number, call in enumerate(self.calls):
            for variable in call.variables:
                users[id(variable)] = users.get(id(variable), 0) | 1 << number
        return {calls for calls in users.values() if calls.bit_count() > 1}

    def _parts(self) -> list[Part]:
        seen: set[int] = set()
        parts = []
        for call in self.calls:
            own = {id(v): v for v in getattr(call.operation, "weights", [])}
            new = [v for key, v in own.items() if key not in seen]
            seen |= set(own)
            trained = getattr(call.operation, "trainable_variables", [])
            parts.append(
                Part(
                    1,
                    sum(elements(v.shape) for v in new),
                    call_multiply_adds(call),
                    bool(trained),
                )
            )
        return parts

    def _repeated_names(self) -> bool:
        """Whether layers of nested models share a name."""
        operations = {id(c.operation): c.operation.name for c in self.calls}
        return len(set(operations.values())) < len(operations)

    def smashed(self, pair: Pair) -> list[Tensor]:
        """The tensors from head to body."""
        body = pair.ahead & ~pair.head
        return [
            tensor
            for tensor in self.tensors
            if pair.head >> self.maker(tensor) & 1
            and self.readers.get(tensor, 0) & body
        ]

    def features(self, pair: Pair) -> list[Tensor]:
        """The tensors from body to tail, or predictions to the phone."""
        if pair.single:
            return list(self.graph.outputs)
        body = pair.ahead & ~pair.head
        return [
            tensor
            for tensor in self.tensors
            if body >> self.maker(tensor) & 1
            and (
                tensor in self.outputs
                or self.readers.get(tensor, 0) & ~pair.ahead
            )
        ]

    def maker(self, tensor: Tensor) -> int:
        """The number of the call that makes a tensor."""
        assert tensor.call is not None
        return self.order[tensor.call]

    def cut(self, pair: Pair) -> tuple[tuple[str, ...], ...]:
        """The layers to name for a pair."""
        first = self._last(pair.head, pair.head)
        if pair.single:
            return (first,)
        return first, self._last(pair.ahead, pair.ahead & ~pair.head)

    def ends(self, closed: int) -> int:
        """How many calls of a closed set have no reader in it."""
        return sum(not self.children[n] & closed for n in bits(closed))

    def _last(self, closed: int, among: int) -> tuple[str, ...]:
        return tuple(
            self._name(self.calls[number])
            for number in bits(among)
            if not self.children[number] & closed
        )

    def _name(self, call: Call) -> str:
        """A name that means the call, and in other builds the same one."""
        if call not in self._named:
            self._named[call] = ""
            for name in (call.path, call.label):  # the label, if both do
                try:
                    found = self.graph.find(name)
                except CutError:
                    continue
                if found == call.outputs:
                    self._named[call] = name
        return self._named[call]

    def pair(self, partition: Partition) -> Pair:
        """A partition of the same model as a pair."""
        head = ahead = 0
        for number, call in enumerate(partition.graph.calls):
            where = partition.segment_of[call]
            head |= (where == "head") << number
            ahead |= (where != "tail") << number
        return Pair(head, ahead, partition.tail is None)

    def builds(self, pair: Pair) -> bool:
        """Whether each of the parts can be a model, and the cut has names."""
        if not all(name for names in self.cut(pair) for name in names):
            return False
        if not self.names_repeat:
            return True
        # Keras wants each name once in a model.
        seen: dict[tuple[str, str], int] = {}
        waiting: list[Any] = list(self.graph.members)
        while waiting:
            member = waiting.pop()
            calls = (
                list(member.calls()) if isinstance(member, Nested) else [member]
            )
            where = {self._segment(pair, call) for call in calls}
            if len(where) > 1:
                assert isinstance(member, Nested)
                waiting += member.members
                continue
            for segment in where:
                key = segment, member.operation.name
                own = id(member.operation)
                if seen.setdefault(key, own) != own:
                    return False
        return True

    def _segment(self, pair: Pair, call: Call) -> str:
        number = self.order[call]
        if pair.head >> number & 1:
            return "head"
        return "body" if pair.ahead >> number & 1 else "tail"
