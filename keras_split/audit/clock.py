"""How long an attack computes."""

import time
from types import TracebackType

from keras_split.audit.attack import Spent


class Clock:
    """Counts steps, and seconds between `with` and its end.

    Example:
        clock = Clock()
        with clock:
            clock.steps += 1
        clock.spent
    """

    def __init__(self) -> None:
        self.steps = 0
        self._wall = self._cpu = 0.0
        self._began = (0.0, 0.0)

    def __enter__(self) -> "Clock":
        """Starts."""
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stops."""
        self._wall += time.perf_counter() - self._began[0]
        self._cpu += time.process_time() - self._began[1]

    @property
    def running(self) -> float:
        """Seconds since it was started last."""
        return time.perf_counter() - self._began[0]

    @property
    def spent(self) -> Spent:
        """What was counted."""
        return Spent(self.steps, round(self._wall, 2), round(self._cpu, 2))
