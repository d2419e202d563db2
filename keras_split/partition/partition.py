"""Cuts a Keras model into head, body and tail.

Head = everything needed to compute the first cut layer. Body = everything
else needed to compute the second. Tail = the rest. The segments share their
layers, and so their weights, with the model they were cut from.
"""

import difflib
from collections.abc import Collection
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_split.compression.codecs import Codec
from keras_split.compression.rules import Quantization
from keras_split.compression.shared import Share
from keras_split.compression.shared import SharedSpec
from keras_split.compression.shared import packing_of
from keras_split.compression.shared import packings
from keras_split.compression.tensors import TensorSpec
from keras_split.errors import CutError
from keras_split.partition import tables
from keras_split.partition.assignment import Problem
from keras_split.partition.assignment import assign
from keras_split.partition.buckets import made_buckets
from keras_split.partition.crossing import why_not
from keras_split.partition.fingerprint import fingerprint
from keras_split.partition.graph import Call
from keras_split.partition.graph import Graph
from keras_split.partition.graph import Nested
from keras_split.partition.graph import Tensor
from keras_split.partition.own_code import check_own_code
from keras_split.partition.replay import replay
from keras_split.partition.rows import rows_per_batch
from keras_split.partition.shapes import check_shapes
from keras_split.partition.unfold import holder
from keras_split.protocol.contract import Contract
from keras_split.utils import keras_private
from keras_split.utils.counted import counted

_NAMES = ("head", "body", "tail")


@dataclass(frozen=True, eq=False)
class Segment:
    """One of the parts of a model.

    Attributes:
        name: `"head"`, `"body"` or `"tail"`.
        model: Its layers as a functional model; inputs and outputs are lists.
        inputs: The tensors of the whole model's graph that it reads.
        outputs: The tensors that it hands on.
    """

    name: str
    model: keras.Model
    inputs: list[Tensor]
    outputs: list[Tensor]


class Partition:
    """A model and where it is cut.

    Args:
        model: A functional or Sequential model, built.
        cut: One or two cuts. Each is a layer, its name, the path of a layer
            in a nested model (`"mobilenetv2/block_2_add"`), the n-th layer
            of a class (`"MaxPooling2D#1"`), or a list of those when several
            branches must be cut at once.
        share: Names of inputs of the model that the server may have, as they
            are: a padding mask. Or how each is packed, by name, see
            `keras_split.compression.shared`. Without it none leaves the
            phone.
        lengths: Of sequences, ascending, for a model whose inputs have axes
            of None: one part of the model runs all of them.

    Attributes:
        head: What the phone runs first.
        body: What the server runs.
        tail: What the phone runs last; None for a model that is cut once.
        smashed: The tensors that go from head to body.
        features: The tensors that go from body to tail (for one cut, the
            predictions).
        shared: The inputs of the model that go to the server.
        shared_specs: What is known of those, and how they travel.
        skips: The tensors that go from head to tail and stay on the phone.
        fingerprint: Hash of architecture, variable shapes and cut.

    Raises:
        CutError: If the model cannot be cut there; the message names the
            edge in the way and the nearest cuts that work. Or if an input
            is to be shared that the model does not have, or that the server
            does not need; or a layer makes another shape than it says.
        OptionError: If an input cannot be packed as `share` says.
    """

    def __init__(
        self,
        model: keras.Model,
        cut: Any,
        share: Share = (),
        lengths: Sequence[int] = (),
    ) -> None:
        check_own_code(model)
        self._lengths = tuple(lengths)
        self.graph = Graph(model)
        check_shapes(model, self.graph)
        self._name = model.name
        self._rows = rows_per_batch(self.graph)
        self.cut = [cut] if _is_layer(cut) else list(cut)
        if len(self.cut) not in (1, 2):
            raise CutError(
                "Expected one cut (head and body) or two (head, body and "
                f"tail). Received: {counted(len(self.cut), 'cut')}, {cut!r}. "
                "Pass cut=[first, second]; a cut through several branches is a "
                "list of its own: cut=[[a1, a2], b]."
            )
        self._packings = packings(share)
        self._may_leave = self._inputs_named(self._packings)
        ends = [self._resolve(entry) for entry in self.cut]
        try:
            self._cut(ends)
        except Problem as problem:
            advice = self._nearest(ends)
            raise CutError(
                f"Cannot cut at {self._label()}: {problem}. {advice}"
            ) from None
        self._check_needed()
        self.shared_specs = self._describe_shared()
        self.head = self._build("head", self._head_inputs, self._head_outputs)
        self.body = self._build(
            "body", self.smashed + self.shared, self.features
        )
        self.tail = (
            self._build("tail", self._tail_inputs, self.graph.outputs)
            if len(self.cut) == 2
            else None
        )
        self.input_structure = _input_structure(model)
        self.output_structure = _structure(model)
        self.output_names = list(getattr(model, "output_names", None) or [])
        edges = (self.smashed, self.features, self.skips)
        self.fingerprint = fingerprint(
            self.graph, self.segment_of, edges, self._lengths
        )

    @property
    def cut_names(self) -> tuple[str, ...]:
        """The cut layers as text, for messages and files."""
        return tuple(
            "+".join(_name(layer) for layer in _as_list(entry))
            for entry in self.cut
        )

    def contract(
        self,
        quantization: Quantization,
        codec: str | Codec = "raw",
        *,
        fused_batchnorm: bool = False,
    ) -> Contract:
        """What both halves agree on.

        Raises:
            CutError: If what crosses has no shape at one of the lengths.
        """
        buckets = made_buckets(self, self._lengths)
        longest = buckets[-1] if buckets else None
        return Contract(
            fingerprint=self.fingerprint,
            cut=self.cut_names,
            smashed=longest.smashed if longest else _specs(self.smashed),
            features=longest.features if longest else _specs(self.features),
            quantization=quantization,
            codec=codec,
            labels_on_server=self.tail is None,
            fused_batchnorm=fused_batchnorm,
            shared=longest.shared if longest else self.shared_specs,
            buckets=buckets,
        )

    def _describe_shared(self) -> tuple[SharedSpec, ...]:
        """The inputs that are shared, and how each travels."""
        return tuple(
            SharedSpec(
                t.name,
                tuple(int(n or 0) for n in t.shape),
                str(t.spec.dtype),
                packing_of(t.name, str(t.spec.dtype), self._packings[t.name]),
            )
            for t in self.shared
        )

    def __repr__(self) -> str:
        return f"Partition({self._name!r}, cut={list(self.cut_names)!r})"

    def __str__(self) -> str:
        # Tables are of one length: that of keras_split.fix_length.
        return repr(self) if self._lengths else tables.text(self)

    def _repr_html_(self) -> str | None:
        return None if self._lengths else tables.markup(self)

    def _label(self) -> str:
        return " and ".join(repr(name) for name in self.cut_names)

    def _resolve(self, entry: Any) -> list[Tensor]:
        tensors: list[Tensor] = []
        for layer in _as_list(entry):
            found = self.graph.find(layer)
            if not found:
                name = _name(layer)
                closed = self.graph.why_closed(layer)
                if closed:
                    raise CutError(
                        "Expected a layer that the model calls itself, or in "
                        f"a nested model. Received: {name!r}; {closed}. Cut "
                        "before or behind that model."
                    )
                inside = holder(self.graph, name)
                if inside:
                    raise CutError(
                        "Expected a layer that the model calls itself, or in "
                        f"a nested model. Received: {name!r}, which the layer "
                        f"{inside!r} calls. Cut keras_split.unfold(model, "
                        f"{inside!r}), where it is a layer of the model."
                    )
                paths = [call.path for call in self.graph.calls]
                close = difflib.get_close_matches(name, paths, 3, 0.5)
                hint = (
                    "Did you mean " + " or ".join(map(repr, close)) + "?"
                    if close
                    else f"It has layers such as {paths[0]!r}, "
                    f"{paths[len(paths) // 2]!r} and {paths[-1]!r}."
                )
                raise CutError(
                    "Expected a layer of the model. Received: "
                    f"{name!r}, which it does not have. {hint}"
                )
            tensors.extend(found)
        return tensors

    def _inputs_named(self, names: Collection[str]) -> list[Tensor]:
        """The inputs of the model that may leave the phone."""
        inputs = {tensor.name: tensor for tensor in self.graph.inputs}
        for name in names:
            if name not in inputs:
                raise CutError(
                    "Expected share to name inputs of the model: "
                    f"{', '.join(map(repr, inputs))}. Received: {name!r}. "
                    "What layers make crosses where they are cut."
                )
        return [inputs[name] for name in inputs if name in names]

    def _check_needed(self) -> None:
        """Refuses a consent that nothing needs: it may be a mistake."""
        idle = [t.name for t in self._may_leave if t not in self.shared]
        if idle:
            raise CutError(
                "Expected share to name inputs that layers of the server "
                f"read. Received: {', '.join(map(repr, idle))}, which no "
                f"layer between the cuts reads, at {self._label()}. Leave it "
                "out of share: it stays on the phone."
            )

    def _cut(self, ends: list[list[Tensor]]) -> None:
        """Sorts calls and edges, or raises what stands in the way."""
        self.segment_of = assign(self.graph, ends, self._may_leave)
        self._connect()
        self._check_edges()

    def _works(self, ends: list[list[Tensor]]) -> bool:
        try:
            self._cut(ends)
        except Problem:
            return False
        return True

    def _nearest(self, ends: list[list[Tensor]]) -> str:
        """Names the closest cuts that would work, one before, one after."""
        if ends[1:] and self._works(ends[::-1]):
            first, second = reversed(self.cut_names)
            return f"The other way round it works: cut=[{first!r}, {second!r}]."
        where = [
            max((t.call.order for t in tensors if t.call), default=0)
            for tensors in ends
        ]
        for position in reversed(range(len(ends))):
            found: dict[bool, str] = {}
            calls = sorted(
                self.graph.calls, key=lambda c: abs(c.order - where[position])
            )
            for call in calls:
                behind = call.order > where[position]
                if behind in found:
                    continue
                trial = list(ends)
                trial[position] = call.outputs
                if self._works(trial):
                    found[behind] = call.path
                if len(found) == 2:
                    break
            if found:
                which = ("first", "second")[position] if ends[1:] else "only"
                names = " and ".join(repr(found[k]) for k in sorted(found))
                are = "are" if len(found) > 1 else "is"
                return f"The nearest for the {which} cut {are} {names}."
        return (
            "No single layer nearby works either. Cut at several, one on each "
            "branch, as a list: cut=[['a', 'b'], 'c']."
        )

    def _connect(self) -> None:
        """Sorts the edges between segments."""
        read_by: dict[Tensor, set[str]] = {}
        for call in self.graph.calls:
            for tensor in call.inputs:
                read_by.setdefault(tensor, set()).add(self.segment_of[call])
        last = "tail" if len(self.cut) == 2 else "body"
        for tensor in self.graph.outputs:
            read_by.setdefault(tensor, set()).add(last)
        made = [t for call in self.graph.calls for t in call.outputs]
        made = [t for t in made if t in read_by]

        def edges(source: str, target: str) -> list[Tensor]:
            return [
                tensor
                for tensor in made
                if self.segment_of[tensor.call] == source  # type: ignore[index]
                and target in read_by[tensor]
            ]

        self.raw_inputs = self.graph.inputs
        raw = [t for t in self.graph.inputs if t in read_by]
        self.smashed = edges("head", "body")
        self.skips = edges("head", "tail")
        self.features = (
            edges("body", "tail")
            if len(self.cut) == 2
            else list(self.graph.outputs)
        )
        self.shared = [t for t in raw if "body" in read_by[t]]
        # The head is given them, too: what is sent comes from its inputs.
        self._head_inputs = [
            t for t in raw if "head" in read_by[t] or t in self.shared
        ]
        self._head_outputs = list(dict.fromkeys(self.smashed + self.skips))
        self.raw_skips = [t for t in raw if "tail" in read_by[t]]
        self._tail_inputs = self.features + self.skips + self.raw_skips

    def _check_edges(self) -> None:
        for tensor in self.smashed + self.features + self.shared:
            problem = why_not(
                self.graph, self._rows, tensor, lengths=bool(self._lengths)
            )
            if problem:
                raise Problem(problem)

    def _build(
        self, name: str, inputs: list[Tensor], outputs: list[Tensor]
    ) -> Segment:
        """Replays the calls of one segment on inputs of its own."""
        made: dict[Tensor, Any] = {}
        for tensor in inputs:
            label = tensor.name.replace("/", ".").replace(":", "_")
            made[tensor] = keras.Input(
                batch_shape=tensor.spec.shape,
                dtype=tensor.spec.dtype,
                sparse=tensor.spec.sparse,
                name=label if tensor.call is None else f"{label}_cut",
                optional=tensor.optional,
            )
        replay(
            self.graph.members,
            made,
            lambda nested: len(self._segments_of(nested)) == 1,
            lambda m: m.operation if self._segments_of(m) == {name} else None,
        )
        try:
            model = keras.Model(
                [made[t] for t in inputs], [made[t] for t in outputs], name=name
            )
        except ValueError as error:
            raise CutError(
                f"Cannot build the {name} of the cut at {self._label()}: "
                f"{error} Give layers of nested models names of their own."
            ) from error
        return Segment(name, model, inputs, outputs)

    def _segments_of(self, member: Call | Nested) -> set[str]:
        """The segments that run a call, or the calls of a nested model."""
        calls = member.calls() if isinstance(member, Nested) else [member]
        return {self.segment_of[call] for call in calls}


def _is_layer(entry: Any) -> bool:
    return not isinstance(entry, (list, tuple))


def _as_list(entry: Any) -> list[Any]:
    return [entry] if _is_layer(entry) else list(entry)


def _name(layer: Any) -> str:
    return (
        layer if isinstance(layer, str) else getattr(layer, "name", str(layer))
    )


def _specs(tensors: list[Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(t.label, tuple(int(n or 0) for n in t.shape))
        for t in tensors
    )


def _input_structure(model: keras.Model) -> Any:
    """The names of the model's inputs as it was made of them."""
    inputs = keras_private.inputs_struct(keras_private.functional(model))
    return keras.tree.map_structure(lambda tensor: tensor.name, inputs)


def _structure(model: keras.Model) -> Any:
    """The model's outputs with numbers in place of tensors."""
    if isinstance(model, keras.Sequential):
        return 0
    numbers = {id(t): i for i, t in enumerate(model.outputs)}
    return keras.tree.map_structure(
        lambda t: numbers[id(t)], keras_private.outputs_struct(model)
    )
