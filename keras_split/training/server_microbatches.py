"""The body's part of a step whose batch travels in microbatches.

Each microbatch has a graph that waits in the middle, as a whole step has, and
ends with what it adds to the gradients; one more graph commits their sum.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.compression.tensors import CutTensor
from keras_split.training.body_codecs import codecs_of
from keras_split.training.body_optimizer import BodyOptimizer
from keras_split.training.graph_checks import finite_gradients
from keras_split.training.in_flight import ANYONE
from keras_split.training.in_flight import Holder
from keras_split.training.in_flight import StepInFlight

if TYPE_CHECKING:
    from keras_split.training.server_step import ServerHalf

SeedState = list[tf.Tensor]
Sums = dict[str, tf.Tensor]


class Unfinished:
    """The steps of a body that have sums of gradients, which are large.

    Args:
        limit: So many may have some at a time. Of others they are computed
            anew at the end, as residuals are.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._steps: dict[ServerMicrobatches, None] = {}  # the oldest first

    def add(self, step: "ServerMicrobatches") -> None:
        """A step has sums; that of who was silent for longest lets go."""
        self.remove(step)
        self._steps[step] = None
        over = max(len(self._steps) - self._limit, 0)
        for other in list(self._steps)[:over]:
            self.remove(other)
            other.forget_sums()

    def remove(self, step: "ServerMicrobatches") -> None:
        """A step has none any more."""
        self._steps.pop(step, None)


class ServerMicrobatches:
    """Runs the microbatches of one step of a body.

    Args:
        half: The body.
        optimizer: Updates it at the end.
        holder: Whose step it is.
        smashed_grad: Whether there are to be gradients of the smashed data.
    """

    def __init__(
        self,
        half: "ServerHalf",
        optimizer: BodyOptimizer,
        holder: Holder = ANYONE,
        *,
        smashed_grad: bool = True,
    ) -> None:
        self._half = half
        self._optimizer = optimizer
        self._graph = optimizer.graph_for(smashed_grad)
        self._holder = holder
        # Seeds and the like: what each of them begins with, and what the
        # last one ended with.
        self._seed_states: list[SeedState] = []
        self._waiting: list[StepInFlight | None] = []
        self._sums: list[Sums] = []
        self._forgotten = False
        # Smashed data and gradients of those that went backward.
        self._gone: list[tuple[Sequence[CutTensor], list[Any]]] = []

    def forward(
        self, smashed: Sequence[CutTensor]
    ) -> tuple[list[CutTensor], float]:
        """Runs the body forward for the next one, and changes nothing.

        Args:
            smashed: The head's outputs for it.

        Returns:
            The features and the body's regularization loss.
        """
        half = self._half
        with half.lock:
            codecs = codecs_of(half, smashed)
            graph = self._graph.across(codecs)
            if not self._seed_states:
                self._seed_states.append(graph.seed_state())
            seed_state = self._seed_states[-1]
            step = None
            examples = smashed[0].shape[0]
            if half.in_flight.make_room(examples, self._holder):
                step = self._start(smashed, seed_state)
                penalty, *made = step.features.result()
                half.in_flight.keep(step, examples, self._holder)
            else:
                out = graph.run_microbatch_forward(
                    seed_state, half.parts(smashed)
                )
                penalty, *made = [part.numpy() for part in out]
            self._waiting.append(step)
            count = len(seed_state)
            self._seed_states.append(
                [tf.convert_to_tensor(value) for value in made[:count]]
            )
            features = codecs.features.wrap(made[count:])
            return features, float(penalty)

    def backward(
        self,
        index: int,
        smashed: Sequence[CutTensor],
        features_grad: Sequence[CutTensor],
        learning_rate: float,
        share: float,
        *,
        last: bool,
    ) -> list[CutTensor]:
        """Runs the body backward for one; the last one commits them all.

        Args:
            index: Which one.
            smashed: Its input again.
            features_grad: Gradients of the loss by its features.
            learning_rate: Of this step.
            share: Its part of the examples of the batch.
            last: Whether weights and statistics are to be updated now, once
                for all of them.

        Returns:
            Gradients of the loss by the smashed data, if there are to be any.

        Raises:
            ProtocolError: If a gradient is not finite; nothing has changed.
        """
        half, graph = self._half, self._graph
        with half.lock, finite_gradients():
            scale = np.float32(self._optimizer.enter(learning_rate))
            parts = graph.unwrapped(features_grad)
            given = [np.float32(share), scale, *parts]
            step = half.in_flight.take(self._waiting[index])
            if step is None:
                step = self._start(smashed, self._seed_states[index], given)
            else:
                step.give(given)
            out, sums = step.result.result()
            codec = codecs_of(half, smashed).smashed_grad
            made = codec.wrap([p.numpy() for p in out])
            if last:
                self._recall()
                graph.commit([*self._sums, sums], self._seed_states[-1])
                self._sums = []
                half.unfinished.remove(self)
                return made
            self._gone.append((smashed, given))
            if not self._forgotten:
                self._add(sums)
                half.unfinished.add(self)
            return made

    def forget_sums(self) -> None:
        """Frees the gradients so far; they are computed anew at the end."""
        self._sums, self._forgotten = [], True

    def abandon(self) -> None:
        """Frees what they hold."""
        for waiting in self._waiting:
            self._half.abandon(waiting)
        with self._half.lock:
            self._half.unfinished.remove(self)
            self._sums, self._gone = [], []

    def _add(self, sums: Sums) -> None:
        self._sums.append(sums)
        if len(self._sums) == 2:  # each is as large as the weights
            self._sums = [self._graph.add(*self._sums)]

    def _recall(self) -> None:
        """Brings back the sums that were forgotten, in the same order."""
        if not self._forgotten:
            return
        for index, (smashed, given) in enumerate(self._gone):
            step = self._start(smashed, self._seed_states[index], given)
            self._add(step.result.result()[1])

    def _start(
        self,
        smashed: Sequence[CutTensor],
        seed_state: SeedState,
        gradients: list[Any] | None = None,
    ) -> StepInFlight:
        """Starts the graph of one; with gradients at hand it never waits."""
        graph = self._graph.across(codecs_of(self._half, smashed))
        parts = self._half.parts(smashed)
        return self._half.in_flight.start(
            lambda step_handle: graph.run_microbatch(
                step_handle, seed_state, parts
            ),
            [tf.float32, *graph.gradient_dtypes],
            gradients,
        )
