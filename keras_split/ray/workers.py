"""Processes of Ray that each hold one thing and take tasks with it."""

import os
from collections import Counter
from collections import deque
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from keras_split.errors import SplitError
from keras_split.errors import TransportError
from keras_split.ray.raised import first_line
from keras_split.ray.raised import raised

_AHEAD = 2  # tasks of a worker: while it takes one, the next is there already
_RESTARTS = 3  # of a process whose tasks end some day
FOREVER = -1  # of one that serves
_TRIES = 4  # of a task whose process dies; it may be what kills them
_START_S = 600.0  # until the first of them is there


class Worker:
    """One process; an actor of Ray makes it.

    TensorFlow is not loaded before its settings are there.

    Args:
        settings: Environment variables.
    """

    def __init__(self, settings: dict[str, str]) -> None:
        os.environ.update(settings)
        self._made: Callable[[Any, Any], Any] | None = None

    def ready(self, make: list[Any]) -> int:
        """Answers when it can take tasks, with the number of its process.

        Args:
            make: A reference to what makes what takes the tasks, in a list,
                which Ray does not look into.
        """
        self._taker(make)
        return os.getpid()

    def take(self, make: list[Any], shared: Any, task: Any) -> Any:
        """The result of a task; see `ready`."""
        return self._taker(make)(shared, task)

    def _taker(self, make: list[Any]) -> Callable[[Any, Any], Any]:
        """Made by the first call, whose caller hears of what was raised.

        A process that was started again has it made anew.
        """
        if self._made is None:
            import ray

            self._made = ray.get(make[0])()
        return self._made


class Workers:
    """Some processes, which are handed tasks as they get done with others.

    A task is a function of what it is given, so one whose process died is
    taken again, by whoever is there. Ray starts another process in its place,
    on another machine if need be.

    Args:
        ray: The module, initialized.
        make: Makes, in each process, what takes the tasks.
        count: How many.
        cpus: Of each.
        gpus: Of each.
        settings: Environment variables of each.
        restarts: How often one that dies is started again.
    """

    def __init__(
        self,
        ray: Any,
        make: Callable[[], Callable[[Any, Any], Any]],
        count: int,
        cpus: int,
        gpus: float,
        settings: dict[str, str],
        restarts: int = _RESTARTS,
    ) -> None:
        self._ray = ray
        self._owned = ExitStack()
        self._make = [_put(ray, make)]
        actor = ray.remote(Worker).options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=restarts,
            max_task_retries=_RESTARTS,
        )
        self._all = [actor.remote(settings) for _ in range(count)]
        self._starting = {w.ready.remote(self._make): w for w in self._all}
        self._there: list[Any] = []

    def __len__(self) -> int:
        return len(self._all)

    @property
    def processes(self) -> list[int]:
        """Numbers of the processes, on their machines; waits for them."""
        asked = [worker.ready.remote(self._make) for worker in self._all]
        found: list[int] = self._ray.get(asked)
        return found

    def each(self, shared: Any, tasks: Sequence[Any]) -> Iterator[Any]:
        """Results of some tasks as they are there, in any order.

        Args:
            shared: What all tasks get.
            tasks: They are begun in this order.

        Raises:
            SplitError: What a task raised.
            TransportError: If no process is left, or each that took a task
                died.
        """
        known = _put(self._ray, shared)
        waiting = deque(range(len(tasks)))
        running: dict[Any, tuple[Any, int]] = {}
        deaths: Counter[int] = Counter()

        def hand_out(worker: Any, count: int = 1) -> None:
            for _ in range(min(count, len(waiting))):
                number = waiting.popleft()
                take = worker.take.options(max_task_retries=0)
                answer = take.remote(self._make, known, tasks[number])
                running[answer] = worker, number

        for worker in self._there:
            hand_out(worker, 1)
        for worker in self._there:
            hand_out(worker, _AHEAD - 1)
        while waiting or running:
            for done in self._done(running):
                if done in self._starting:
                    worker = self._starting.pop(done)
                    if self._answer(done, worker) is not None:
                        self._there.append(worker)
                        hand_out(worker, _AHEAD)
                    continue
                worker, number = running.pop(done)
                answer = self._answer(done, worker)
                if answer is None:
                    deaths[number] += 1
                    if deaths[number] == _TRIES:
                        raise _deadly()
                    waiting.append(number)
                    for other in self._there:
                        hand_out(other)
                    continue
                hand_out(worker)
                yield answer[0]
                del answer

    def close(self) -> None:
        """Ends the processes, and Ray where it was started for them."""
        self._owned.close()

    def owns(self, stack: ExitStack) -> None:
        """Hands over what `close` lets go of."""
        self._owned = stack

    def end(self) -> None:
        """Ends the processes, whatever they do."""
        for worker in self._all:
            self._ray.kill(worker)

    def _done(self, running: dict[Any, Any]) -> list[Any]:
        """References to what is done, one or more."""
        if not running and not self._starting:
            raise TransportError(
                "Expected a process that takes the tasks. Received: none; "
                f"each of {len(self)} died {_RESTARTS + 1} times. They may "
                "lack memory: have fewer workers, or fewer phones in a round."
            )
        done, _ = self._ray.wait(
            [*running, *self._starting],
            num_returns=1,
            timeout=None if running else _START_S,
            fetch_local=False,
        )
        if not done:
            raise TransportError(
                f"Expected one of {len(self)} processes to start within "
                f"{_START_S:.0f} s. Received: none. See `ray status` for what "
                "the cluster lacks, or ask for fewer workers."
            )
        found: list[Any] = done
        return found

    def _answer(self, reference: Any, worker: Any) -> tuple[Any] | None:
        """What it was, in a tuple; None if its process died."""
        errors = self._ray.exceptions
        try:
            return (self._ray.get(reference),)
        except errors.RayTaskError as error:
            raise raised(error) from None
        except (errors.RayActorError, errors.ObjectLostError):
            if worker in self._there:
                self._there.remove(worker)
                self._starting[worker.ready.remote(self._make)] = worker
            return None


def _deadly() -> TransportError:
    return TransportError(
        f"Expected a process that gets done with a task. Received: {_TRIES} "
        "that died with it. They may lack memory: have fewer of them, or "
        "smaller batches."
    )


def _put(ray: Any, value: Any) -> Any:
    """A reference to a value in shared memory.

    Raises:
        SplitError: If it cannot be pickled.
    """
    try:
        return ray.put(value)
    except Exception as error:
        # Pickle raises whatever an object likes.
        raise SplitError(
            "Expected something that goes to other processes by pickle. "
            f"Received: {first_line(error)} Functions and classes of a model "
            "are to be defined in modules."
        ) from None
