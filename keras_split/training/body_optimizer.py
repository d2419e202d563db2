"""The optimizer of the body, one for each session, and who built it."""

import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.errors import ProtocolError
from keras_split.training.microbatch_graph import MicrobatchGraph

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
        out: Sequence[Any] = self._exchange(list(slots))
        return out

    def _trace_exchange(self, slots: list[tf.Tensor]) -> list[tf.Tensor]:
        variables = self.optimizer.variables
        before = [tf.identity(variable.value) for variable in variables]
        for variable, slot in zip(variables, slots, strict=True):
            variable.assign(slot)
        return before


class BodyOptimizer:
    """The optimizer of one session.

    Args:
        shared: The graph that it updates the body in.
        lasting: Whether it is the server's own and outlives sessions.

    Attributes:
        lasting: The same.
    """

    def __init__(self, shared: SharedStep, lasting: bool = False) -> None:
        self._shared = shared
        self._shared.users += 1
        self.lasting = lasting
        self._left = False
        # Arrays, or tensors; unless they are in the variables now.
        self._slots: Sequence[Any] = shared.fresh

    @property
    def graph(self) -> MicrobatchGraph:
        """The compiled step."""
        return self._shared.graph

    def enter(self, learning_rate: float) -> float:
        """Makes ready for a step with this session's slots.

        Returns:
            The factor that float16 gradients are computed with.
        """
        shared = self._shared
        self.take_over()
        # As an array: TensorFlow keeps a tensor of every Python number.
        shared.optimizer.learning_rate = np.array(learning_rate, np.float32)
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
        """Puts a copy back."""
        if self._shared.owner is not self:
            self._slots = list(values)
            return
        for variable, value in zip(
            self._shared.optimizer.variables, values, strict=True
        ):
            variable.assign(value)


def from_json(config: str) -> keras.optimizers.Optimizer:
    """A Keras optimizer from JSON; only classes of `keras.optimizers`.

    Raises:
        ProtocolError: With reason `"optimizer"`.
    """
    try:
        value = json.loads(config)
        name = value["class_name"]
        kind = getattr(keras.optimizers, name, None)
        base = keras.optimizers.Optimizer
        if isinstance(kind, type) and issubclass(kind, base) and kind != base:
            return keras.optimizers.deserialize(value)
    except (ValueError, TypeError, KeyError) as error:
        raise ProtocolError(
            "Expected the config of a Keras optimizer. Received: "
            f"{config[:200]!r} ({error}).",
            "optimizer",
        ) from error
    raise ProtocolError(
        "Expected an optimizer of keras.optimizers. Received: "
        f"{name!r}. For one of your own start the server with it: "
        "server.compile(optimizer).",
        "optimizer",
    )


def loss_model_from_json(config: str) -> keras.Model:
    """A model without layers that knows how to compute the loss.

    Raises:
        ProtocolError: With reason `"loss"`.
    """
    try:
        given = json.loads(config)
        _check_losses(given)
        values = keras.saving.deserialize_keras_object(given, safe_mode=True)
        loss_model = keras.Model()
        loss_model.compile(
            loss=values["loss"], loss_weights=values["loss_weights"]
        )
    except (ValueError, TypeError, KeyError, ImportError) as error:
        raise ProtocolError(
            "Expected the config of a Keras loss, because a model that is "
            f"cut once has its loss on the server. Received: {config[:200]!r}"
            f" ({error}). Use a loss of keras.losses.",
            "loss",
        ) from error
    return loss_model


def _check_losses(value: Any) -> None:
    """Raises a `ValueError` for anything but what is in `keras.losses`.

    Keras would build any of its classes from a config, large ones as well.
    """
    if isinstance(value, dict) and "class_name" in value:
        name, module = value["class_name"], value.get("module")
        if (name, module) == ("function", "builtins"):
            name, module = value.get("config"), "keras.losses"
        known = isinstance(name, str) and hasattr(keras.losses, name)
        if module != "keras.losses" or not known:
            raise ValueError(f"{name!r} of {module!r} is none")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_losses(item)


def without_rate(config: str) -> str:
    """The config without what may differ between clients of one graph.

    The learning rate comes with each step, and the name is only a name, which
    Keras numbers.
    """
    try:
        value = json.loads(config)
        inner = value["config"].get("inner_optimizer", value)
        if isinstance(inner["config"].get("learning_rate"), float):
            del inner["config"]["learning_rate"]
        for part in (value, inner):
            part["config"].pop("name", None)
        return json.dumps(value, sort_keys=True)
    except (ValueError, TypeError, KeyError, AttributeError):
        return config
