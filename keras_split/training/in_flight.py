"""Steps whose graphs wait in the middle, between forward and backward.

A waiting graph holds no thread of TensorFlow: what it waits for comes out of a
queue, and taking something out of a TensorFlow queue is asynchronous. A host
callback that waits would hold one of the inter-op pool, of which there is one
a core; with a pool larger by eight InceptionV3 took 7 % more time.
"""

import threading
import time
from collections import Counter
from collections import defaultdict
from collections.abc import Callable
from collections.abc import Sequence
from concurrent import futures
from concurrent.futures import Future
from typing import Any
from typing import NamedTuple
from typing import Protocol

import numpy as np
import tensorflow as tf

from keras_split.training import tf_threads
from keras_split.utils import workers

# Of one body, unless it is told another number. Each holds what a backward
# pass needs of a batch.
MAX_IN_FLIGHT = max(4, tf_threads.cores())
# One that waits so long may lose its place to another; it is computed anew when
# its gradients come.
STALLED_S = 10.0
_ABANDONED = np.float32(0)


class Holder(Protocol):
    """Whose steps wait: a client."""

    @property
    def may_wait(self) -> bool:
        """Whether its steps may wait in memory."""

    def given_up(self) -> None:
        """One that waited came to nothing.

        TensorFlow 2.21 keeps about 1.5 kB of every graph that fails, so
        clients are not to do this without end.
        """


class _Anyone:
    may_wait = True

    def given_up(self) -> None:
        pass


ANYONE: Holder = _Anyone()


class StepHandle(NamedTuple):
    """What a graph carries to know its step; tensors.

    Attributes:
        number: The number of the step, shape `()`, int64.
        queue: Where its gradients will come from, a resource.
    """

    number: tf.Tensor
    queue: tf.Tensor


class StepInFlight:
    """One step in flight; its graph waits in the middle for gradients.

    Args:
        queue: Takes the gradients to the graph.
        early: Whether it hands out gradients before it ends.

    Attributes:
        early: The same.
        holder: Whose it is, if it waits.
        examples: How many it is of; what it holds grows with them.
        since: When it began to wait, by `time.monotonic`.
        features: What its forward made.
        smashed_grad: What it hands out early.
        result: What its graph gives at the end.
    """

    def __init__(self, queue: tf.queue.FIFOQueue, early: bool = False) -> None:
        self.early = early
        self.holder = ANYONE
        self.examples = 0
        self.since = 0.0
        self.features: Future[list[Any]] = Future()
        self.smashed_grad: Future[list[Any]] = Future()
        self.result: Future[Any] = Future()
        self._queue = queue
        self._lock = threading.Lock()
        self._given = False

    def give(self, gradients: Sequence[Any]) -> None:
        """Lets the graph go on; the first of them is a positive number."""
        with self._lock:
            if not self._given:
                self._given = True
                self._queue.enqueue(list(gradients))

    def abandon(self) -> None:
        """Lets the waiting graph end; its results are dropped."""
        _, *parts = self._queue.dtypes
        nothing = [np.zeros(0, part.as_numpy_dtype) for part in parts]
        self.give([_ABANDONED, *nothing])

    def end(self) -> bool:
        """Takes nothing any more; whether the graph took what was given."""
        with self._lock:
            self._given = True
            return int(self._queue.size()) == 0


class StepsInFlight:
    """Runs graphs in threads of their own, and finds their steps again.

    Args:
        limit: How many may wait for their gradients at a time.

    Attributes:
        limit: The same.
        max_examples: Of how many examples those that wait may be together;
            None for any number.
    """

    def __init__(self, limit: int = MAX_IN_FLIGHT) -> None:
        self.limit = limit
        self.max_examples: int | None = None
        self._steps: dict[int, StepInFlight] = {}
        self._waiting: dict[StepInFlight, None] = {}  # the oldest first
        self._next = 0
        # TensorFlow keeps 30 kB for every queue that there ever was.
        self._queues: dict[Any, list[tf.queue.FIFOQueue]] = defaultdict(list)

    def __len__(self) -> int:
        """How many graphs run or wait."""
        return len(self._steps)

    def start(
        self,
        graph: Callable[[StepHandle], Any],
        dtypes: Sequence[tf.DType],
        gradients: Sequence[Any] | None = None,
        *,
        early: bool = False,
    ) -> StepInFlight:
        """Starts the graph of a step; not for two threads at once.

        Args:
            graph: Runs it, given its step_handle.
            dtypes: Of its gradients, the first a float32.
            gradients: If they are at hand; it never waits then.
            early: Whether it hands out gradients before it ends.
        """
        free = self._queues[tuple(dtypes)]
        queue = free.pop() if free else tf.queue.FIFOQueue(1, list(dtypes))
        step = StepInFlight(queue, early)
        if gradients is not None:
            step.give(gradients)
        self._next += 1
        number = self._next
        self._steps[number] = step
        # As an array: TensorFlow keeps a tensor of every Python number it saw.
        step_handle = StepHandle(
            tf.constant(np.array(number, np.int64)), queue.queue_ref
        )

        def run() -> None:
            made = error = None
            try:
                made = graph(step_handle)
            except BaseException as raised:
                error = raised
            del self._steps[number]
            if error is None or step.end():
                free.append(queue)
            if error is None:
                step.result.set_result(made)
                return
            for awaited in (step.features, step.smashed_grad, step.result):
                if not awaited.done():
                    awaited.set_exception(error)

        workers.start(run)
        return step

    # -- those that wait ---------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many wait for their gradients."""
        return len(self._waiting)

    def make_room(self, examples: int = 1, holder: Holder = ANYONE) -> bool:
        """Whether one more may wait.

        If there is no room, one that has waited for too long goes for it, or
        one of who has at least two more than who asks.

        Args:
            examples: Of how many it is.
            holder: Whose it is.
        """
        if not holder.may_wait:
            return False
        while not self._fits(examples):
            other = self._least_missed(holder)
            if other is None:
                return False
            self.abandon(other)
        return True

    def _fits(self, examples: int) -> bool:
        most, waiting = self.max_examples, self._waiting
        if len(waiting) >= self.limit:
            return False
        return most is None or (
            sum(step.examples for step in waiting) + examples <= most
        )

    def _least_missed(self, holder: Holder) -> StepInFlight | None:
        oldest = next(iter(self._waiting), None)
        if oldest is None:
            return None
        if time.monotonic() - oldest.since > STALLED_S:
            return oldest
        counts = Counter(id(step.holder) for step in self._waiting)
        whose, most = counts.most_common(1)[0]
        if most < counts[id(holder)] + 2:
            return None
        return next(s for s in self._waiting if id(s.holder) == whose)

    def keep(
        self, step: StepInFlight, examples: int = 1, holder: Holder = ANYONE
    ) -> None:
        """Gives a step a place; its graph waits for gradients."""
        step.holder, step.examples = holder, examples
        step.since = time.monotonic()
        self._waiting[step] = None

    def take(self, step: StepInFlight | None) -> StepInFlight | None:
        """The same step, whose place is free again; None if it had none."""
        if step is None or step not in self._waiting:
            return None
        del self._waiting[step]
        return step

    def abandon(self, step: StepInFlight | None) -> None:
        """Ends the graph of a step, if it still waits."""
        taken = self.take(step)
        if taken is not None:
            taken.abandon()
            taken.holder.given_up()

    def abandon_all(self) -> None:
        """Ends all graphs that wait, which is nobody's fault."""
        for step in list(self._waiting):
            del self._waiting[step]
            step.abandon()

    def end_all(self, timeout_s: float = 5.0) -> None:
        """The same, and waits until they have let go of what they held."""
        self.abandon_all()
        futures.wait([s.result for s in [*self._steps.values()]], timeout_s)

    # -- inside a graph ----------------------------------------------------

    def exchange(
        self,
        step_handle: StepHandle,
        features: Sequence[tf.Tensor],
        dtypes: Sequence[tf.DType],
    ) -> list[tf.Tensor]:
        """Hands features out, and waits for gradients.

        Args:
            step_handle: The graph's.
            features: What its forward made.
            dtypes: As in `start`.

        Returns:
            What was given, of unknown shapes but for the first: `()`.
        """
        handed = tf.numpy_function(
            self._hand_over, [step_handle.number, *features], tf.float32
        )
        with tf.control_dependencies([handed]):
            given = tf.raw_ops.QueueDequeueV2(
                handle=step_handle.queue, component_types=list(dtypes)
            )
        given[0].set_shape(())
        goes_on = tf.raw_ops.Assert(
            condition=given[0] > _ABANDONED, data=["abandoned"]
        )
        with tf.control_dependencies([goes_on]):
            return [tf.identity(part) for part in given]

    def hand_out(
        self, step_handle: StepHandle, smashed_grad: Sequence[tf.Tensor]
    ) -> tf.Tensor:
        """Hands out what the phone waits for; gives something to wait for."""
        return tf.numpy_function(
            self._hand_out, [step_handle.number, *smashed_grad], tf.float32
        )

    def _hand_over(self, number: Any, *features: Any) -> Any:
        self._steps[int(number)].features.set_result(list(features))
        return np.float32(0)

    def _hand_out(self, number: Any, *smashed_grad: Any) -> Any:
        self._steps[int(number)].smashed_grad.set_result(list(smashed_grad))
        return np.float32(0)
