"""Where the time of a step goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Lap(NamedTuple):
    """How often something was done, and how long it took in all."""

    calls: int
    seconds: float


class Clock:
    """Adds up the time of named parts.

    Attributes:
        laps: `Lap`s by name: a signature of the .tflite, or `"server"` for
            the network and what the server computes.
    """

    def __init__(self) -> None:
        self.laps: dict[str, Lap] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Measures what is done inside, if it succeeds."""
        began = time.perf_counter()
        yield
        lap = self.laps.get(name, Lap(0, 0.0))
        took = time.perf_counter() - began
        self.laps[name] = Lap(lap.calls + 1, lap.seconds + took)
