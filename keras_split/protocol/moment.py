"""Which moment of which training a half of a model is of."""

from dataclasses import asdict
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Moment:
    """Which moment of which training a half of a model is of.

    The body's moment moves with each step that it takes, whoever's step it
    is. A client's is that of the body after the client's own last step, so
    two halves are one model if, and only if, their moments are equal.

    Attributes:
        run: Which training: 32 hexadecimal digits, drawn when a body begins
            to train, and anew when it goes back to an earlier state, for
            then another future begins. Empty for a half that never trained.
        steps: How many the body has taken.
    """

    run: str = ""
    steps: int = 0

    def __bool__(self) -> bool:
        return bool(self.run)

    def __str__(self) -> str:
        if not self:
            return "not trained yet"
        return f"run {self.run[:8]}, step {self.steps:,}"

    def get_config(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def get(cls, identifier: "Moment | dict[str, Any] | None") -> "Moment":
        """A moment from itself or from its config; None is no moment."""
        if isinstance(identifier, cls):
            return identifier
        config = identifier or {}
        assert isinstance(config, dict)
        return cls(**config)
