"""What a server sees of one training step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_Arrays = Sequence[np.ndarray[Any, Any]]


@dataclass(frozen=True, eq=False)
class Seen:
    """What a server sees of one training step, decoded.

    Each list has one array for each tensor of that cut, float32, shape
    `(batch, ...)`: the numbers that the codes stand for, defenses and
    quantization included. Nothing else reaches a server in a U shape.

    Attributes:
        step: Number of the step.
        smashed: What the phone sent forward.
        features: What the server answered.
        features_grad: What the phone sent back.
        smashed_grad: What the server answered; empty if the head is frozen.
        learning_rate: As the phone said it.
    """

    step: int
    smashed: _Arrays
    features: _Arrays
    features_grad: _Arrays
    smashed_grad: _Arrays
    learning_rate: float

    def __len__(self) -> int:
        """Examples in the batch."""
        return len(self.smashed[0])
