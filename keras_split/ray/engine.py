"""What work is spread over: how many processes, how large, in which cluster."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras_split.errors import OptionError
from keras_split.ray.room import find_room
from keras_split.ray.runtime import runtime
from keras_split.ray.settings import settings
from keras_split.ray.workers import Workers


@dataclass(frozen=True)
class RayEngine:
    """Processes on one machine or several, for work that can be shared out.

    For `keras_split.federation.simulate(engine=...)`, where `engine="ray"` is
    short for `RayEngine()`.

    Attributes:
        address: Of a cluster, `"auto"` for that of this machine, or `"local"`
            for processes of this program alone. By default what `RAY_ADDRESS`
            says, or else `"local"`.
        workers: How many processes; 0 for as many as there are free CPUs, but
            no more than there are tasks at a time.
        cpus: Of each, 1 or more.
        threads: In which each computes one operation; 0 for `cpus`. With
            as many as one process has (its cores), sums are in the same order
            and numbers the same, bit for bit.
        gpus: Of each; 0.5 for two that share one, 0 for none.

    Raises:
        OptionError: If one of them cannot be.
    """

    address: str | None = None
    workers: int = 0
    cpus: int = 1
    threads: int = 0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        for name, value, least in (
            ("workers", self.workers, 0),
            ("cpus", self.cpus, 1),
            ("threads", self.threads, 0),
            ("gpus", self.gpus, 0),
        ):
            if value < least:
                raise OptionError(
                    f"Expected {name} to be {least} or more. Received: {value}."
                )

    def open(
        self,
        make: Callable[[], Callable[[Any, Any], Any]],
        *,
        tasks: int,
        shared_bytes: int = 0,
    ) -> Workers:
        """Starts the processes; each makes something that takes tasks.

        Args:
            make: Goes there by pickle, and is called there once.
            tasks: That there are at most at a time.
            shared_bytes: Of `make`, and of tasks with their results: what
                shared memory has room for, where Ray is started for this.

        Returns:
            The workers; `close` ends them.

        Raises:
            BackendError: If Ray is not installed.
            TransportError: If the cluster is not there or has no room.
        """
        with contextlib.ExitStack() as stack:
            ray = stack.enter_context(
                runtime(
                    self.address,
                    cpus=self.workers * self.cpus,
                    store_bytes=2 * shared_bytes,
                )
            )
            count = min(self.workers or tasks, tasks)
            least = count if self.workers else 1
            count = find_room(ray, count, least, self.cpus, self.gpus)
            known = settings(self.cpus, self.gpus, self.threads)
            workers = Workers(ray, make, count, self.cpus, self.gpus, known)
            stack.callback(workers.end)
            workers.owns(stack.pop_all())
        return workers
