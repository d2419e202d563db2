"""A Keras model as one flat graph of calls, nested models opened up.

Keras has no public way to walk a functional model, so this is the one file
that reads its nodes.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from typing import Any

import keras

from keras_split.errors import CutError
from keras_split.partition.pairing import Closed
from keras_split.partition.pairing import cast
from keras_split.partition.pairing import pair
from keras_split.utils import keras_private

_COUNT = re.compile(r"#\d+")


@dataclass(eq=False)
class Tensor:
    """One symbolic tensor: an output of a call, or an input of the model."""

    spec: Any
    call: "Call | None" = None
    index: int = 0

    @property
    def name(self) -> str:
        """Path of the layer that makes it, `:1` for its second output."""
        if self.call is None:
            return str(self.spec.name)
        return self.call.path + (f":{self.index}" if self.index else "")

    @property
    def label(self) -> str:
        """Its name where other processes must find the same: on the wire."""
        if self.call is None:
            return self.name
        return self.call.label + (f":{self.index}" if self.index else "")

    @property
    def optional(self) -> bool:
        """Whether None may be given instead: of inputs of the model."""
        source = keras_private.made_by(self.spec)
        return self.call is None and bool(getattr(source, "optional", False))

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape of one example, without the batch axis."""
        return tuple(self.spec.shape[1:])


@dataclass(eq=False)
class Call:
    """One call of one layer or operation.

    Attributes:
        path: Names of the nested models it is in and of its layer.
        label: The path; or `"Class#3"`, the third of its class, where Keras
            made up a name in the path, which counts on with every model.
    """

    operation: Any
    path: str
    args: Any
    kwargs: Any
    inputs: list[Tensor]
    outputs: list[Tensor] = field(default_factory=list)
    order: int = 0
    label: str = ""

    @property
    def variables(self) -> list[Any]:
        """Weights, statistics and seeds of its layer."""
        return list(getattr(self.operation, "variables", []))


@dataclass(eq=False)
class Nested:
    """One call of a model inside the model, with the calls it is made of."""

    operation: Any
    path: str
    args: Any
    kwargs: Any
    members: "list[Call | Nested]"
    outputs: list[Tensor]

    def calls(self) -> Iterator[Call]:
        """All calls inside, in order."""
        for member in self.members:
            if isinstance(member, Nested):
                yield from member.calls()
            else:
                yield member


class Graph:
    """The calls of a model in an order in which they can run.

    Attributes:
        inputs: The model's inputs.
        outputs: The model's outputs, flat.
        members: Calls and nested models, as the user built them.
        calls: Every call, nested ones included, in topological order.
        closed: Models inside that cannot be opened up, by path, and why.
        masks: The tensors that are masks, and of which tensor.

    Raises:
        CutError: If the model is not functional or Sequential, or not built.
    """

    def __init__(self, model: keras.Model) -> None:
        functional = keras_private.functional(model)
        if functional is None:
            raise CutError(
                "Expected a functional or Sequential model that knows its "
                f"input shape. Received: {type(model).__name__} named "
                f"{getattr(model, 'name', '?')!r}. Build it from "
                "keras.Input(shape) with the functional API, or put a "
                "keras.Input first in a Sequential model."
            )
        self.closed: dict[str, tuple[keras.Model, str]] = {}
        self.inputs = [Tensor(spec) for spec in functional.inputs]
        self.members, self.outputs = self._walk(functional, self.inputs, "")
        self.calls = [
            call
            for member in self.members
            for call in (
                member.calls() if isinstance(member, Nested) else [member]
            )
        ]
        self.masks = self._find_masks()
        kinds: Counter[str] = Counter()
        for order, call in enumerate(self.calls):
            kind = type(call.operation).__name__
            kinds[kind] += 1
            call.order = order
            call.label = call.path
            if _is_made_up(call.path, kind):
                call.label = f"{kind}#{kinds[kind]}"

    def _walk(
        self, functional: Any, inputs: list[Tensor], prefix: str
    ) -> tuple[list[Call | Nested], list[Tensor]]:
        tensors = {
            id(spec): tensor
            for spec, tensor in zip(functional.inputs, inputs, strict=True)
        }
        nodes = [
            node
            for node in keras_private.nodes_in_order(functional)
            if not node.is_input
        ]
        total = Counter(id(node.operation) for node in nodes)
        seen: Counter[int] = Counter()
        members: list[Call | Nested] = []
        for node in nodes:
            key = id(node.operation)
            seen[key] += 1
            path = prefix + node.operation.name
            if total[key] > 1:
                path += f"#{seen[key]}"
            member = self._member(node, tensors, path)
            members.append(member)
            for spec, tensor in zip(node.outputs, member.outputs, strict=True):
                tensors[id(spec)] = tensor
        return members, [tensors[id(spec)] for spec in functional.outputs]

    def _member(
        self, node: Any, tensors: dict[int, Tensor], path: str
    ) -> Call | Nested:
        def look_up(value: Any) -> Any:
            if isinstance(value, keras.KerasTensor):
                return tensors[id(value)]
            return value

        operation = node.operation
        args, kwargs = keras.tree.map_structure(
            look_up, (node.arguments.args, node.arguments.kwargs)
        )
        if isinstance(operation, keras.Model):
            try:
                return self._open(operation, path, args, kwargs)
            except Closed as reason:
                self.closed[path] = (operation, str(reason))
        read = [tensors[id(spec)] for spec in node.input_tensors]
        call = Call(operation, path, args, kwargs, read)
        call.outputs = [
            Tensor(spec, call, index) for index, spec in enumerate(node.outputs)
        ]
        return call

    def _open(
        self, model: keras.Model, path: str, args: Any, kwargs: Any
    ) -> Nested:
        """A model inside the model as the calls it is made of.

        Raises:
            Closed: If they would not do what the model does.
        """
        inner = keras_private.functional(model)
        if inner is None:
            raise Closed(
                f"its class {type(model).__name__} has a call of its own, or "
                "it does not know its input shape"
            )
        read: list[Tensor] = []
        members: list[Call | Nested] = []
        for tensor, spec in zip(
            pair(inner, args, kwargs), inner.inputs, strict=True
        ):
            operation = cast(tensor.spec, spec)
            if operation is not None:
                inside = f"{path}/{operation.name}"
                call = Call(operation, inside, (tensor,), {}, [tensor])
                tensor = Tensor(operation(tensor.spec), call)
                call.outputs = [tensor]
                members.append(call)
            read.append(tensor)
        rest, outputs = self._walk(inner, read, path + "/")
        return Nested(model, path, args, kwargs, [*members, *rest], outputs)

    def _find_masks(self) -> dict[Tensor, Tensor]:
        made = [*self.inputs, *(t for c in self.calls for t in c.outputs)]
        by_spec = {id(tensor.spec): tensor for tensor in made}
        masks: dict[Tensor, Tensor] = {}
        for tensor in made:
            mask = by_spec.get(id(keras_private.mask_of(tensor.spec)))
            if mask is not None:
                masks.setdefault(mask, tensor)
        return masks

    def why_closed(self, layer: Any) -> str:
        """Why a layer, or its path, is in a model that cannot be opened up.

        Empty if it is in none.
        """
        for path, (model, reason) in self.closed.items():
            if isinstance(layer, str):
                bare = _COUNT.sub("", path)
                inside = layer.startswith((path + "/", bare + "/"))
            else:
                parts = keras_private.flatten_layers(model, include_self=False)
                inside = any(layer is part for part in parts)
            if inside:
                return f"{path!r} cannot be cut inside: {reason}"
        return ""

    def find(self, layer: Any) -> list[Tensor]:
        """The outputs of the layer that `layer` means; empty if there is none.

        Args:
            layer: A layer; its name; a path such as `"base/conv_1"`; the
                second call of a shared layer as `"conv_1#2"`; or the third
                layer of a class as `"MaxPooling2D#3"`, for layers that were
                never given a name.

        Raises:
            CutError: If the layer is called more than once.
        """
        for tensor in self.inputs:
            source = keras_private.made_by(tensor.spec)
            if layer is source or layer in (tensor.name, source.name):
                return [tensor]
        members = list(_all_members(self.members))
        found = [m for m in members if layer in (m.operation, m.path)]
        if not found and isinstance(layer, str):
            found = [m for m in members if _COUNT.sub("", m.path) == layer]
        if not found and isinstance(layer, str):
            kind, _, count = layer.partition("#")
            same = [c for c in self.calls if type(c.operation).__name__ == kind]
            if count.isdigit() and 0 < int(count) <= len(same):
                found = [same[int(count) - 1]]
        if len(found) > 1:
            calls = ", ".join(repr(member.path) for member in found)
            raise CutError(
                "Expected a layer that is called once. Received: "
                f"{getattr(layer, 'name', layer)!r}, which is called "
                f"{len(found)} times. Name the call that you mean: {calls}."
            )
        return found[0].outputs if found else []


def _is_made_up(path: str, kind: str) -> bool:
    """Whether Keras, not the user, chose a name in the path."""
    *models, layer = _COUNT.sub("", path).split("/")
    snake = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)
    snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", snake).lower()
    return bool(re.fullmatch(rf"{snake}(_\d+)?", layer)) or any(
        re.fullmatch(r"(functional|sequential|model)(_\d+)?", name)
        for name in models
    )


def _all_members(
    members: list[Call | Nested],
) -> Iterator[Call | Nested]:
    for member in members:
        yield member
        if isinstance(member, Nested):
            yield from _all_members(member.members)
