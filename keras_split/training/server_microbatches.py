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
from keras_split.training.body_optimizer import BodyOptimizer
from keras_split.training.graph_checks import finite_gradients
from keras_split.training.in_flight import StepInFlight

if TYPE_CHECKING:
    from keras_split.training.server_step import ServerHalf

SeedState = list[tf.Tensor]
Sums = dict[str, tf.Tensor]


class ServerMicrobatches:
    """Runs the microbatches of one step of a body.

    Args:
        half: The body.
        optimizer: Updates it at the end.
    """

    def __init__(self, half: "ServerHalf", optimizer: BodyOptimizer) -> None:
        self._half = half
        self._optimizer = optimizer
        # Seeds and the like: what each of them begins with, and what the
        # last one ended with.
        self._seed_states: list[SeedState] = []
        self._waiting: list[StepInFlight | None] = []
        self._sums: list[Sums] = []

    def forward(
        self, smashed: Sequence[CutTensor]
    ) -> tuple[list[CutTensor], float]:
        """Runs the body forward for the next one, and changes nothing.

        Args:
            smashed: The head's outputs for it.

        Returns:
            The features and the body's regularization loss.
        """
        half, graph = self._half, self._optimizer.graph
        with half.lock:
            if not self._seed_states:
                self._seed_states.append(graph.seed_state())
            seed_state = self._seed_states[-1]
            step = None
            if half.in_flight.has_room:
                step = self._start(smashed, seed_state)
                penalty, *made = step.features.result()
                half.in_flight.keep(step)
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
            features = half.cut_codecs.features.wrap(made[count:])
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
            Gradients of the loss by the smashed data.

        Raises:
            ProtocolError: If a gradient is not finite; nothing has changed.
        """
        half, graph = self._half, self._optimizer.graph
        with half.lock, finite_gradients():
            scale = np.float32(self._optimizer.enter(learning_rate))
            parts = half.cut_codecs.features_grad.unwrap(features_grad)
            given = [np.float32(share), scale, *parts]
            step = half.in_flight.take(self._waiting[index])
            if step is None:
                step = self._start(smashed, self._seed_states[index], given)
            else:
                step.give(given)
            out, sums = step.result.result()
            made = half.cut_codecs.smashed_grad.wrap([p.numpy() for p in out])
            self._sums.append(sums)
            if last:
                graph.commit(self._sums, self._seed_states[-1])
                self._sums = []
            elif len(self._sums) == 2:  # each is as large as the weights
                self._sums = [graph.add(*self._sums)]
            return made

    def abandon(self) -> None:
        """Frees what they hold."""
        for waiting in self._waiting:
            self._half.abandon(waiting)
        self._sums = []

    def _start(
        self,
        smashed: Sequence[CutTensor],
        seed_state: SeedState,
        gradients: list[Any] | None = None,
    ) -> StepInFlight:
        """Starts the graph of one; with gradients at hand it never waits."""
        graph, parts = self._optimizer.graph, self._half.parts(smashed)
        return self._half.in_flight.start(
            lambda step_handle: graph.run_microbatch(
                step_handle, seed_state, parts
            ),
            [tf.float32, *graph.gradient_dtypes],
            gradients,
        )
