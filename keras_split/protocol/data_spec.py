"""What the data of a model must be: its classes and the scale of its images."""

from dataclasses import dataclass
from typing import Any

_Numbers = tuple[float, ...]


@dataclass(frozen=True)
class DataSpec:
    """What a model's data must be, beyond the shapes of its inputs.

    It lies in client.keras and client.json, so that whoever trains on, or
    predicts, numbers the classes and scales the images as those before.

    Attributes:
        class_names: Names in the order of the labels; empty if not known.
        matrix: Images with values from 0 to 255 become `x @ matrix +
            offset`: rows of one number a channel; empty if they are taken as
            they are, or if what is done to them is not known.
        offset: One number a channel.
    """

    class_names: tuple[str, ...] = ()
    matrix: tuple[_Numbers, ...] = ()
    offset: _Numbers = ()

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "class_names": list(self.class_names),
            "matrix": [list(row) for row in self.matrix],
            "offset": list(self.offset),
        }

    @classmethod
    def get(cls, identifier: "DataSpec | dict[str, Any] | None") -> "DataSpec":
        """A spec from itself or from its config; None says nothing."""
        if isinstance(identifier, cls):
            return identifier
        config = identifier or {}
        assert isinstance(config, dict)
        return cls(
            tuple(config.get("class_names", ())),
            tuple(tuple(map(float, row)) for row in config.get("matrix", ())),
            tuple(map(float, config.get("offset", ()))),
        )
