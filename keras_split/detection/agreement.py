"""How well gradients agree with the features they should be of."""

from dataclasses import dataclass
from typing import Any

import numpy as np

_Array = np.ndarray[Any, Any]

# When the features are asked for: before the step that is checked, or after.
BEFORE, AFTER, BOTH = "before", "after", "both"
_MOST_DRIFT = 0.3


@dataclass(frozen=True, eq=False)
class Check:
    """One check: what gradients claim, and what was measured.

    For small changes d of the smashed data z an honest server's gradient
    g = (dF/dz)^T v claims <g, d>, where v are the gradients of the features
    that the phone sent. The features of z + d and z - d, for which the phone
    asks, say what it is: <v, F(z + d) - F(z - d)> / 2.

    Attributes:
        step: Number of the step that was checked.
        kind: `"before"` or `"after"`, when the features were asked for.
        claimed: `<g, d>` of each direction, shape `(tries,)`.
        measured: What the features say, likewise.
        drift: How much the same smashed data gave another answer at the end
            than in the beginning, in the unit of `measured`: a body that
            others train meanwhile, or that pretends to be one.
    """

    step: int
    kind: str
    claimed: _Array
    measured: _Array
    drift: float = 0.0

    @property
    def void(self) -> bool:
        """Whether the body moved so much meanwhile that it says nothing."""
        usual = float(np.sqrt(np.mean(self.measured**2)))
        return self.drift > _MOST_DRIFT * usual

    @property
    def idle(self) -> bool:
        """Whether there are no gradients, as claimed and as measured.

        So there are none of a batch that the tail is right about, by a hinge
        loss, or of which no example has a weight.
        """
        return not (self.claimed.any() or self.measured.any())

    @property
    def agreement(self) -> float:
        """The cosine of the two, -1 to 1: 1 for gradients of the features.

        0 where nothing was claimed, or nothing measured: the one says nothing
        of the other.
        """
        size = np.linalg.norm(self.claimed) * np.linalg.norm(self.measured)
        if not np.isfinite(size) or size == 0.0:
            return 0.0
        return float(self.claimed @ self.measured / size)

    def __str__(self) -> str:
        return f"{self.agreement:.2f} in step {self.step} ({self.kind})"
