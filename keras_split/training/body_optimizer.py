"""The optimizer of the body, one for each session, and who built it."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.errors import ProtocolError
from keras_split.protocol.optimizer_config import OptimizerConfig
from keras_split.training.microbatch_graph import MicrobatchGraph
from keras_split.utils import retracing

_Arrays = list[np.ndarray[Any, Any]]


class SharedStep:
    """A step's graph, and whose optimizer slots are in its variables now.

    Sessions with optimizers of the same config share one graph, because
    tracing takes seconds; each has slots of its own, which are swapped in
    when another session's turn comes. That is one call of a graph, which
    hands buffers over: 5 ms for MobileNetV2, 27 variable by variable.
    """

    def __init__(
        self, graph: MicrobatchGraph, optimizer: keras.optimizers.Optimizer
    ) -> None:
        self.graph = graph
        self.optimizer = optimizer
        self.fresh = [np.array(v) for v in optimizer.variables]
        self.owner: BodyOptimizer | None = None
        self.users = 0
        self._exchange = tf.function(self._trace_exchange, autograph=False)

    def exchange(self, slots: Sequence[Any]) -> Sequence[Any]:
        """Puts slots in, and returns those that were there, as tensors."""
        with retracing.expected():  # each body has one, traced once
            out: Sequence[Any] = self._exchange(list(slots))
        return out

    def _trace_exchange(self, slots: list[tf.Tensor]) -> list[tf.Tensor]:
        variables = self.optimizer.variables
        before = [tf.identity(variable.value) for variable in variables]
        for variable, slot in zip(variables, slots, strict=True):
            variable.assign(slot)
        return before


class BodyOptimizer:
    """The optimizer of one session, or the server's own for all of them.

    Args:
        shared: The graph that it updates the body in.
        lasting: Whether it is the server's own and outlives sessions.
        own_learning_rate: Whether it keeps its own: its number, or schedule.

    Attributes:
        lasting: The same.
        own_learning_rate: The same.
    """

    def __init__(
        self,
        shared: SharedStep,
        lasting: bool = False,
        own_learning_rate: bool = False,
    ) -> None:
        self._shared = shared
        self._shared.users += 1
        self.lasting = lasting
        self.own_learning_rate = own_learning_rate
        self._left = False
        # Arrays, or tensors; unless they are in the variables now.
        self._slots: Sequence[Any] = shared.fresh

    @property
    def graph(self) -> MicrobatchGraph:
        """The compiled step."""
        return self._shared.graph

    def graph_for(self, smashed_grad: bool) -> MicrobatchGraph:
        """The same, for a head that trains or for one that does not."""
        graph = self._shared.graph
        return graph if smashed_grad else graph.for_frozen_head

    @property
    def name(self) -> str:
        """Its class in Keras."""
        optimizer = self._shared.optimizer
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        return type(inner).__name__

    def enter(self, learning_rate: float) -> float:
        """Makes ready for a step with this session's slots.

        Args:
            learning_rate: Of the step, unless it keeps its own.

        Returns:
            The factor that float16 gradients are computed with.
        """
        shared = self._shared
        self.take_over()
        if not self.own_learning_rate:
            # As an array: TensorFlow keeps a tensor of every Python number.
            rate = np.array(learning_rate, np.float32)
            shared.optimizer.learning_rate = rate
        scaled = shared.optimizer.scale_loss(np.float32(1))
        return float(scaled)

    def take_over(self) -> None:
        """Puts this session's slots into the graph's variables."""
        shared = self._shared
        if shared.owner is not self:
            tensors = [tf.convert_to_tensor(slot) for slot in self._slots]
            before = shared.exchange(tensors)
            if shared.owner is not None:
                shared.owner._slots = before
            shared.owner, self._slots = self, ()

    def leave(self) -> None:
        """Forgets the slots, when the session ends."""
        if self.lasting or self._left:
            return
        self._left = True
        self._shared.users -= 1
        if self._shared.owner is self:
            self._shared.owner = None
        self._slots = ()

    def weights(self) -> _Arrays:
        """A copy of every variable of the optimizer."""
        if self._shared.owner is not self:
            return [np.array(slot) for slot in self._slots]
        return [np.array(v) for v in self._shared.optimizer.variables]

    def set_weights(self, values: Sequence[np.ndarray[Any, Any]]) -> None:
        """Puts a copy back; a learning rate of its own stays as it is."""
        if self.own_learning_rate:
            values = self._with_rate(values)
        if self._shared.owner is not self:
            self._slots = list(values)
            return
        for variable, value in zip(
            self._shared.optimizer.variables, values, strict=True
        ):
            variable.assign(value)

    def _with_rate(
        self, values: Sequence[np.ndarray[Any, Any]]
    ) -> Sequence[np.ndarray[Any, Any]]:
        """The same values, but for the learning rate: that of now."""
        optimizer = self._shared.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        rate = optimizer.learning_rate
        return [
            np.array(variable) if variable is rate else value
            for variable, value in zip(
                self._shared.optimizer.variables, values, strict=True
            )
        ]


class WithLoss(BodyOptimizer):
    """The server's own optimizer, for sessions whose loss is on the server.

    Slots are those of the other; the graph knows a loss.

    Args:
        own: The server's own.
        shared: A graph of the same optimizer that knows the loss.
    """

    def __init__(self, own: BodyOptimizer, shared: SharedStep) -> None:
        super().__init__(
            shared, lasting=True, own_learning_rate=own.own_learning_rate
        )
        self._own = own

    def take_over(self) -> None:
        """Has the slots of the other in the graph's variables."""
        self._own.take_over()

    def leave(self) -> None:
        """Lets go of the graph, when the session ends."""
        if not self._left:
            self._left = True
            self._shared.users -= 1

    def weights(self) -> _Arrays:
        """A copy of every variable of the optimizer."""
        return self._own.weights()

    def set_weights(self, values: Sequence[np.ndarray[Any, Any]]) -> None:
        """Puts a copy back."""
        self._own.set_weights(values)


def build(
    config: OptimizerConfig, variables: Sequence[keras.Variable] = ()
) -> keras.optimizers.Optimizer:
    """The Keras optimizer that a client asks for.

    Args:
        config: It, within the ranges.
        variables: Of the body.

    Raises:
        ProtocolError: With reason `"optimizer"`, if its values do not go
            together, or it knows more variables than there are.
    """
    names, numbers = config.excluded_names, config.excluded_variables
    if numbers and max(numbers) >= len(variables):
        raise ProtocolError(
            f"Expected a variable of the body, below {len(variables)}. "
            f"Received: {max(numbers)}. Both halves must be of one model.",
            "optimizer",
        )
    kind = getattr(keras.optimizers, config.name)
    try:
        made = kind(**config.fields)
    except (ValueError, TypeError) as error:
        raise ProtocolError(
            f"Expected values that go together for {config.name}. Received: "
            f"{error} Change them on the phone.",
            "optimizer",
        ) from error
    if names or numbers:
        excluded = [variables[i] for i in numbers]
        made.exclude_from_weight_decay(excluded, list(names))
    if config.loss_scale is not None:
        scaled = keras.optimizers.LossScaleOptimizer
        made = scaled(made, **config.loss_scale)
    return made
