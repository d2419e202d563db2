"""Which inputs and outputs of a client model belong together."""

from collections.abc import Iterator
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from keras_split.errors import DataError
from keras_split.partition.pairing import in_order


@dataclass(frozen=True)
class Wiring:
    """How head, tail and the whole model are connected; plain values.

    Attributes:
        inputs: Names of the inputs of the whole model.
        head_inputs: Which of them the head reads, by number.
        tail_inputs: Which of them the tail reads itself.
        skips: Which outputs of the head go to the tail.
        outputs: The whole model's outputs by number, in their structure.
        output_names: Their names.
        structure: The names of the inputs, in the structure that the whole
            model was made of; None for one of a file from before 0.2.
        shared: Which inputs of the head, by number, go to the server as well.
        sequences: For each input of the whole model, which of its axes are of
            sequences of several lengths; none where they have one.
        sequence_outputs: The same for the outputs.
        unread: Inputs that no layer reads, by name: what `keras.Input` made
            them of.
    """

    inputs: list[str]
    head_inputs: list[int]
    tail_inputs: list[int]
    skips: list[int]
    outputs: Any
    output_names: list[str]
    structure: Any = None
    unread: dict[str, Any] = field(default_factory=dict)
    shared: list[int] = field(default_factory=list)
    sequences: list[list[int]] = field(default_factory=list)
    sequence_outputs: list[list[int]] = field(default_factory=list)

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        config = asdict(self)
        for name in ("unread", "shared", "sequences", "sequence_outputs"):
            if not config[name]:
                del config[name]
        return config

    @classmethod
    def get(cls, identifier: "Wiring | dict[str, Any]") -> "Wiring":
        """A wiring from itself or from its config."""
        if isinstance(identifier, cls):
            return identifier
        assert isinstance(identifier, dict)
        return cls(**identifier)

    def of_one_length(self) -> "Wiring":
        """The same for a model whose sequences have one length."""
        return replace(self, sequences=[], sequence_outputs=[])

    def sort(self, inputs: Any) -> tuple[list[Any], list[Any]]:
        """Inputs of the head, and those that the tail reads itself.

        Args:
            inputs: Of the whole model: a tensor, a list, or a dict, by the
                keys that the model was made with or by name.

        Raises:
            ValueError: If some are missing, or there are too many.
        """
        flat = in_order(self.structure or self.inputs, inputs)
        if flat is None and isinstance(inputs, dict):
            missing = [name for name in self.inputs if name not in inputs]
            if missing:
                raise ValueError(
                    f"Expected inputs {self.inputs}. Received: "
                    f"{sorted(inputs)}; {missing} are missing."
                )
            flat = [inputs[name] for name in self.inputs]
        elif flat is None:
            raise ValueError(
                f"Expected {len(self.inputs)} inputs, {self.inputs}, in the "
                f"structure {self.structure or self.inputs}. Received: "
                f"{len(keras.tree.flatten(inputs))}."
            )
        return (
            [flat[i] for i in self.head_inputs],
            [flat[i] for i in self.tail_inputs],
        )

    def pack(self, outputs: list[Any]) -> Any:
        """Outputs in the structure of what the whole model returns.

        As Keras does: a list of one output is that output.
        """
        packed = _unflatten(self.outputs, outputs)
        alone = isinstance(packed, list | tuple) and len(packed) == 1
        return packed[0] if alone else packed

    def by_output(self, values: Any, missing: Any = None) -> Any:
        """What was given by name, as a list in the order of the outputs."""
        if not isinstance(values, dict):
            return values
        if isinstance(self.outputs, dict):
            found = dict(_by_number(self.outputs, values, missing))
            return [found[number] for number in sorted(found)]
        return [values.get(name, missing) for name in self.names]

    @property
    def names(self) -> list[str]:
        """What the outputs are called where they are given by name."""
        if isinstance(self.outputs, dict):
            return [path for _, path in sorted(_paths(self.outputs))]
        return self.output_names

    def flatten(self, values: Any) -> list[Any]:
        """Labels or sample weights, one for each output; none for None."""
        if values is None:
            return []
        flat: list[Any] = keras.tree.flatten(self.by_output(values))
        return flat

    def label(
        self, y: Any, sample_weight: Any, loss: Any
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """What the server of a model that is cut once needs for its loss.

        It finds labels by place, so an output without a loss has some too:
        zeros, whether there are labels for it or not.

        Args:
            y: Labels of the outputs that have a loss, as `fit` has them.
            sample_weight: Their weights, likewise.
            loss: As it was given to `compile`.

        Returns:
            Labels and weights, flat; no weights if none is given.

        Raises:
            DataError: If an output that has a loss has no labels.
        """
        labels, weights = self.flatten(y), self.flatten(sample_weight)
        losses = keras.tree.flatten(self.by_output(loss))
        if len(losses) != len(labels):
            losses = [loss] * len(labels)  # one for all
        example = next((t for t in labels if t is not None), None)
        for i, (label, one) in enumerate(zip(labels, losses, strict=True)):
            if one is None:
                rows = tf.reshape(example, (tf.shape(example)[0], -1))
                labels[i] = tf.zeros_like(rows[:, :1])
            elif label is None:
                raise DataError(
                    "Expected labels for every output that has a loss. "
                    f"Received: none for {self.names[i]!r}. Leave its loss "
                    "out, or give fit its labels."
                )
        if any(weight is None for weight in weights):
            ones = tf.ones(tf.shape(example)[:1])
            weights = [ones if w is None else w for w in weights]
        return labels, weights


def _unflatten(structure: Any, flat: list[Any]) -> Any:
    if isinstance(structure, dict):
        return {k: _unflatten(v, flat) for k, v in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [_unflatten(v, flat) for v in structure]
    return flat[structure]


def _paths(structure: Any, path: str = "") -> Iterator[tuple[int, str]]:
    """The number of each output, and the keys that lead to it."""
    if isinstance(structure, int):
        yield structure, path
        return
    pairs = (
        structure.items()
        if isinstance(structure, dict)
        else enumerate(structure)
    )
    for key, inner in pairs:
        yield from _paths(inner, f"{path}/{key}" if path else str(key))


def _by_number(
    structure: Any, values: Any, missing: Any
) -> Iterator[tuple[int, Any]]:
    """The number of each output, and what was given for it."""
    if isinstance(structure, int):
        yield structure, missing if values is None else values
    elif isinstance(structure, dict):
        for key, inner in structure.items():
            given = values.get(key) if isinstance(values, dict) else values
            yield from _by_number(inner, given, missing)
    else:
        some = isinstance(values, list | tuple)
        for place, inner in enumerate(structure):
            yield from _by_number(
                inner, values[place] if some else values, missing
            )
