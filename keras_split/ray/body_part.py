"""Some examples of a merged step, which a process of its own computes."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_split.models.server import ServerModel
from keras_split.training.graph_checks import finite_gradients
from keras_split.training.in_flight import StepInFlight

_Arrays = list[np.ndarray[Any, Any]]


@dataclass(frozen=True, eq=False)
class PartTask:
    """What is to be computed.

    Attributes:
        step: Which step of the body; each begins with weights of its own.
        index: Which of its parts.
        smashed: Parts of the smashed data, the examples of this part.
        seed_state: Seeds and the like that it begins with.
        smashed_grad: Whether there are to be gradients of the smashed data.
        given: What its backward waits for: its share of the batch, loss
            scale, each example's share, parts of the features' gradients.
            None to go forward.
    """

    step: int
    index: int
    smashed: _Arrays
    seed_state: _Arrays
    smashed_grad: bool
    given: list[Any] | None = None


@dataclass(frozen=True, eq=False)
class PartResult:
    """What came of it.

    Attributes:
        index: Of the part.
        parts: Of features, or of gradients of the smashed data.
        penalty: The body's regularization loss; of a forward.
        seed_state: With which it ended; of a forward.
        sums: What it adds to gradients and state, by name; of a backward.
    """

    index: int
    parts: _Arrays
    penalty: float = 0.0
    seed_state: _Arrays | None = None
    sums: dict[str, Any] | None = None


class Rows(NamedTuple):
    """A gradient that has some rows alone: that of an `Embedding`."""

    values: np.ndarray[Any, Any]
    indices: np.ndarray[Any, Any]
    shape: np.ndarray[Any, Any]

    def slices(self) -> tf.IndexedSlices:
        """The same, as TensorFlow has it."""
        return tf.IndexedSlices(*map(tf.convert_to_tensor, self))


class BodyPart:
    """A copy of a body, which takes tasks.

    It has nothing that is not in a task or in the weights of its step. One
    that is asked for a backward whose forward another process computed, or
    that it has forgotten, goes forward again.

    Args:
        model: The copy.
        fetch: Gets the weights of a step, every variable of the body.
    """

    def __init__(
        self, model: ServerModel, fetch: Callable[[Any], Sequence[Any]]
    ) -> None:
        self._half = model.half
        self._fetch = fetch
        # It is the optimizer of nobody: gradients are committed elsewhere.
        self._optimizer = self._half.adopt(keras.optimizers.SGD())
        self._step = -1
        self._waiting: dict[int, StepInFlight] = {}

    def __call__(self, weights: list[Any], task: PartTask) -> PartResult:
        """Computes a task.

        Args:
            weights: What `fetch` takes, in a list, which Ray does not look
                into.
            task: It.

        Raises:
            ProtocolError: If a gradient is not finite.
        """
        half = self._half
        with half.lock, finite_gradients():
            if task.step != self._step:
                half.set_weights(self._fetch(weights[0]))
                self._step, self._waiting = task.step, {}
            if task.given is None:
                return self._forward(task)
            return self._backward(task)

    def _forward(self, task: PartTask) -> PartResult:
        flight = self._half.in_flight
        step = self._start(task)
        penalty, *made = step.features.result()
        if flight.make_room(len(task.smashed[0])):
            flight.keep(step, len(task.smashed[0]))
            self._waiting[task.index] = step
        else:
            step.abandon()
        count = len(task.seed_state)
        return PartResult(
            task.index, made[count:], float(penalty), made[:count]
        )

    def _backward(self, task: PartTask) -> PartResult:
        step = self._half.in_flight.take(self._waiting.pop(task.index, None))
        if step is None:
            step = self._start(task)
        else:
            step.give(task.given or ())
        out, sums = step.result.result()
        return PartResult(
            task.index,
            [part.numpy() for part in out],
            sums={name: _portable(value) for name, value in sums.items()},
        )

    def _start(self, task: PartTask) -> StepInFlight:
        graph = self._optimizer.graph_for(task.smashed_grad)
        seed_state, parts = (
            [tf.convert_to_tensor(array) for array in arrays]
            for arrays in (task.seed_state, task.smashed)
        )
        return self._half.in_flight.start(
            lambda handle: graph.run_merged_part(handle, seed_state, parts),
            graph.merged_part_dtypes,
            task.given,
        )


@dataclass(frozen=True)
class PartMaker:
    """Makes a `BodyPart` in a process of Ray.

    Attributes:
        make: Makes the copy of the server model.
    """

    make: Callable[[], ServerModel]

    def __call__(self) -> BodyPart:
        """It, in whichever process this is."""
        import ray

        return BodyPart(self.make(), ray.get)


def _portable(gradient: Any) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        named = gradient.values, gradient.indices, gradient.dense_shape
        return Rows(*(np.array(tensor) for tensor in named))
    return gradient.numpy()
