"""What a server knows of the data of its clients."""

import re
from dataclasses import dataclass
from typing import Any

from keras_split.errors import ProtocolError

_HASH = re.compile("([0-9a-f]{64})?")
_OTHERS = {
    "classes": (
        "the classes that this body is trained with, in their order",
        "others. Number the classes as the other clients do: --classes-from "
        "with the client.keras or client.json of one of them, or --class-names "
        "with the names in the same order; in Python client.data_spec. Or "
        "serve a body for each client: --bodies private.",
    ),
    "preprocess": (
        "images scaled as those that this body is trained with",
        "another scale. Start from the same preset, or from the client.keras "
        "or client.tflite of one of the other clients; in Python "
        "client.data_spec says how images are scaled. Or serve a body for each "
        "client: --bodies private.",
    ),
}


@dataclass(frozen=True)
class DataDigest:
    """Hashes of what a client says of its data; it travels in `Hello`.

    Who numbers the same classes differently, or scales images differently,
    would train nonsense into a body that others train, too. To find that out
    a server needs no names.

    Attributes:
        classes: Of the names of the classes in their order; 64 hexadecimal
            digits, or empty if they are not known.
        preprocess: Of how images are scaled; the same.

    Raises:
        ProtocolError: If one is neither.
    """

    classes: str = ""
    preprocess: str = ""

    def __post_init__(self) -> None:
        for field, value in vars(self).items():
            if not _HASH.fullmatch(value):
                raise ProtocolError(
                    f"Expected 64 hexadecimal digits in data.{field}, or "
                    f"nothing. Received: {value[:80]!r}. client.json has what "
                    "is to be said, in hello."
                )

    def __bool__(self) -> bool:
        return bool(self.classes or self.preprocess)

    def __str__(self) -> str:
        said = [f"{k} {v[:8]}" for k, v in vars(self).items() if v]
        return ", ".join(said) or "nothing known"

    def or_else(self, other: "DataDigest") -> "DataDigest":
        """The same, and what the other says where this one says nothing."""
        return DataDigest(
            self.classes or other.classes, self.preprocess or other.preprocess
        )

    def check(self, theirs: "DataDigest") -> None:
        """Refuses a client whose data is other data.

        Raises:
            ProtocolError: With reason `"data"`, if both say something and
                it differs.
        """
        for field, (expected, received) in _OTHERS.items():
            ours, other = getattr(self, field), getattr(theirs, field)
            if ours and other and ours != other:
                raise ProtocolError(
                    f"Expected {expected} (hash {ours[:8]}). Received: (hash "
                    f"{other[:8]}) {received}",
                    "data",
                )

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {k: v for k, v in vars(self).items() if v}

    @classmethod
    def get(
        cls, identifier: "DataDigest | dict[str, Any] | None"
    ) -> "DataDigest":
        """Hashes from themselves or from their config; None says nothing."""
        if isinstance(identifier, cls):
            return identifier
        config = identifier or {}
        assert isinstance(config, dict)
        return cls(**config)
