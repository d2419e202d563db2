"""Merged steps of one body that several processes compute together.

Each has a copy of the body and some of the examples of a step, goes forward
and backward with them, and gives the gradients. Their sum is committed here,
by the optimizer and with the checkpoints of this process, and the next step
begins with the weights that this makes: one update a step, as without.
"""

import itertools
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError
from keras_split.errors import TransportError
from keras_split.ray.body_part import PartResult
from keras_split.ray.body_part import PartTask
from keras_split.ray.body_part import Rows
from keras_split.ray.workers import Workers
from keras_split.training.commit import is_float
from keras_split.training.graph_checks import finite_gradients
from keras_split.training.server_merged import ServerMerged
from keras_split.training.server_merged import joined

if TYPE_CHECKING:
    from keras_split.training.body_optimizer import BodyOptimizer
    from keras_split.training.server_step import ServerHalf

_Tensors = Sequence[CutTensor]
_SEED = "seed_generator_state"  # what Keras calls that of a SeedGenerator
_SPREAD = 0x9E3779B9  # of the golden ratio: parts begin far from each other


class DataParallel:
    """Several processes, each with a `BodyPart`; makes steps for a half.

    Args:
        workers: They.
        put: Gives what they fetch weights by.
    """

    def __init__(self, workers: Workers, put: Callable[[Any], Any]) -> None:
        self._workers, self.put = workers, put
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """How many processes."""
        return len(self._workers)

    def step(
        self,
        half: "ServerHalf",
        optimizer: "BodyOptimizer",
        smashed: Sequence[_Tensors],
        *,
        smashed_grad: bool = True,
    ) -> "DataParallelStep":
        """A step over the smashed data of several phones."""
        return DataParallelStep(
            self,
            next(self._numbers),
            half,
            optimizer,
            smashed,
            smashed_grad=smashed_grad,
        )

    def take(self, weights: Any, tasks: Sequence[PartTask]) -> list[PartResult]:
        """The results of the parts of a step, in their order.

        Args:
            weights: What `put` gave.
            tasks: One for each part.

        Raises:
            ProtocolError: With reason `"busy"`, if no process is left; or what
                one of them found wrong with the step.
        """
        try:
            made = [*self._workers.each([weights], tasks)]
        except TransportError as error:
            raise ProtocolError(
                "Expected processes that compute the step. Received: none: "
                f"{error} The step was not taken.",
                "busy",
            ) from error
        return sorted(made, key=lambda result: result.index)


class DataParallelStep(ServerMerged):
    """One step of a body over the examples of several phones.

    Args:
        over: Who computes it.
        number: Of the step, among those of `over`.
        *args: As of `ServerMerged`.
        smashed_grad: As of `ServerMerged`.
    """

    def __init__(
        self,
        over: DataParallel,
        number: int,
        *args: Any,
        smashed_grad: bool = True,
    ) -> None:
        super().__init__(*args, smashed_grad=smashed_grad)
        self._over, self._number = over, number
        self._wanted = smashed_grad
        self._weights: Any = None
        self._tasks: list[PartTask] = []
        self._seed_state: list[np.ndarray[Any, Any]] = []

    def forward(self) -> tuple[list[CutTensor], float]:
        """Runs the body forward once, and changes nothing.

        Returns:
            The features of all, and the body's regularization loss.

        Raises:
            ProtocolError: With reason `"busy"`, if nobody can compute it.
        """
        half = self._half
        with half.lock:
            self._weights = self._over.put(half.weights())
            self._tasks = [
                PartTask(
                    self._number,
                    index,
                    [part[rows] for part in self._parts],
                    self._seeds(index),
                    self._wanted,
                )
                for index, rows in enumerate(self._rows())
            ]
            made = self._over.take(self._weights, self._tasks)
            self._seed_state = made[0].seed_state or []
        parts = joined([result.parts for result in made])
        return half.cut_codecs.features.wrap(parts), made[0].penalty

    def backward(
        self, features_grad: Sequence[_Tensors | None], learning_rate: float
    ) -> list[CutTensor]:
        """Runs the body backward once; updates its weights and statistics.

        Args:
            features_grad: As of `ServerMerged`.
            learning_rate: Of this step.

        Returns:
            As `ServerMerged`.

        Raises:
            ProtocolError: If a gradient is not finite, or nobody can compute
                it; nothing has changed.
        """
        half, examples = self._half, sum(self._counts)
        with half.lock, finite_gradients():
            scale, *given = self._given(features_grad, learning_rate)
            tasks = [
                replace(
                    task,
                    given=[
                        np.float32((rows.stop - rows.start) / examples),
                        scale,
                        *(each[rows] for each in given),
                    ],
                )
                for task, rows in zip(self._tasks, self._rows(), strict=True)
            ]
            made = self._over.take(self._weights, tasks)
            self._graph.commit(
                [_tensors(result.sums or {}) for result in made],
                [tf.convert_to_tensor(seed) for seed in self._seed_state],
            )
        self._weights = None
        parts = joined([result.parts for result in made])
        return half.cut_codecs.smashed_grad.wrap(parts)

    def abandon(self) -> None:
        """Lets go of the weights that it began with."""
        self._weights = None

    def _seeds(self, index: int) -> list[np.ndarray[Any, Any]]:
        """With which state that is no float a part begins.

        Each has random numbers of its own; the rest is the same in all.
        """
        return [
            _drawn(np.array(state), index)
            if state.name == _SEED
            else np.array(state)
            for state in self._half.body.non_trainable_variables
            if not is_float(state)
        ]

    def _rows(self) -> list[slice]:
        """Which examples are computed where: as many in each process."""
        examples = sum(self._counts)
        parts = min(len(self._over), examples)
        ends = np.linspace(0, examples, parts + 1).astype(int).tolist()
        return [slice(*pair) for pair in itertools.pairwise(ends)]


def _drawn(state: np.ndarray[Any, Any], index: int) -> np.ndarray[Any, Any]:
    """The state of a `SeedGenerator`, a seed and a count, for a part."""
    state[0] = (int(state[0]) ^ index * _SPREAD) & 0x7FFFFFFF
    return state


def _tensors(sums: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.slices()
        if isinstance(value, Rows)
        else tf.convert_to_tensor(value)
        for name, value in sums.items()
    }
