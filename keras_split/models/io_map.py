"""Which inputs and outputs of a client model belong together."""

from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import keras


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
    """

    inputs: list[str]
    head_inputs: list[int]
    tail_inputs: list[int]
    skips: list[int]
    outputs: Any
    output_names: list[str]

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def get(cls, identifier: "Wiring | dict[str, Any]") -> "Wiring":
        """A wiring from itself or from its config."""
        if isinstance(identifier, cls):
            return identifier
        assert isinstance(identifier, dict)
        return cls(**identifier)

    def sort(self, inputs: Any) -> tuple[list[Any], list[Any]]:
        """Inputs of the head, and those that the tail reads itself.

        Args:
            inputs: Of the whole model: a tensor, a list, or a dict by name.

        Raises:
            ValueError: If some are missing, or there are too many.
        """
        if isinstance(inputs, dict):
            missing = [name for name in self.inputs if name not in inputs]
            if missing:
                raise ValueError(
                    f"Expected inputs {self.inputs}. Received: "
                    f"{sorted(inputs)}; {missing} are missing."
                )
            flat = [inputs[name] for name in self.inputs]
        else:
            flat = keras.tree.flatten(inputs)
            if len(flat) != len(self.inputs):
                raise ValueError(
                    f"Expected {len(self.inputs)} inputs, {self.inputs}. "
                    f"Received: {len(flat)}."
                )
        return (
            [flat[i] for i in self.head_inputs],
            [flat[i] for i in self.tail_inputs],
        )

    def pack(self, outputs: list[Any]) -> Any:
        """Outputs in the structure of the whole model's."""
        return _unflatten(self.outputs, outputs)

    def by_output(self, values: Any, missing: Any = None) -> Any:
        """What was given by name, as a list in the order of the outputs."""
        if not isinstance(values, dict):
            return values
        names = self.output_names
        if isinstance(self.outputs, dict):
            names = sorted(self.outputs, key=self.outputs.__getitem__)
        return [values.get(name, missing) for name in names]

    def flatten(self, values: Any) -> list[Any]:
        """Labels or sample weights, one for each output; none for None."""
        if values is None:
            return []
        flat: list[Any] = keras.tree.flatten(self.by_output(values))
        return flat


def _unflatten(structure: Any, flat: list[Any]) -> Any:
    if isinstance(structure, dict):
        return {k: _unflatten(v, flat) for k, v in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [_unflatten(v, flat) for v in structure]
    return flat[structure]
