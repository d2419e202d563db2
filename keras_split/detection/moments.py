"""When a phone looks at its server, which the server cannot foresee."""

import numpy as np

from keras_split.detection.agreement import AFTER
from keras_split.detection.agreement import BEFORE

FIRST = 8  # steps of the first window; each is twice as long as the one before
SOON = 4  # steps of a window that is put in between


class Moments:
    """Draws a step out of each window of steps, and how it is checked.

    A hijack does most of its harm at once (an SSIM of 0.5 in 50 steps), so
    windows are short at first and grow to `every` steps. Of the first two
    checks, and of each two after them, one is of each kind.

    Args:
        every: Steps of a window, in the long run.
        rng: The phone's secret randomness.
    """

    def __init__(self, every: int, rng: np.random.Generator) -> None:
        self._every = every
        self._rng = rng
        self._length = 0
        self._left = self._until = 0  # steps of this window; to its check
        self._kinds: list[str] = []

    def next(self) -> str:
        """How the next step is checked: a kind; empty for not."""
        if self._left == 0:
            self._length = min(2 * self._length or FIRST, self._every)
            self._left = self._length
            self._until = int(self._rng.integers(self._length))
        self._left -= 1
        self._until -= 1
        if self._until != -1:
            return ""
        if not self._kinds:
            self._kinds = [BEFORE, AFTER]
            self._rng.shuffle(self._kinds)
        return self._kinds.pop()

    def soon(self) -> None:
        """Puts a window of a few steps in between, checked after its step."""
        self._left, self._length = 0, min(SOON, self._every) // 2
        self._kinds.append(AFTER)
