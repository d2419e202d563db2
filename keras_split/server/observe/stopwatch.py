"""Counts how long something takes, by bounds."""

from bisect import bisect_left

from keras_split.protocol.times import Times

# Seconds. The first step of a large body takes a minute: TensorFlow traces.
BOUNDS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)


class Stopwatch:
    """Sums times up; for one thread at a time."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._total_s = 0.0

    def add(self, seconds: float) -> None:
        """Counts one more."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._total_s += seconds

    @property
    def times(self) -> Times:
        """What was counted."""
        return Times(BOUNDS_S, tuple(self._counts), self._total_s)
