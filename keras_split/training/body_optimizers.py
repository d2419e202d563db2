"""All optimizers of one body, and the graphs that they update it in."""

import json
import secrets
from collections.abc import Callable
from typing import Any

import keras

from keras_split.errors import ProtocolError
from keras_split.protocol.optimizer_config import OptimizerConfig
from keras_split.training import body_optimizer
from keras_split.training.body_loss import loss_model
from keras_split.training.body_optimizer import BodyOptimizer
from keras_split.training.body_optimizer import SharedStep
from keras_split.training.body_optimizer import WithLoss
from keras_split.training.microbatch_graph import MicrobatchGraph
from keras_split.training.optimizer_check import check_knows
from keras_split.training.optimizer_check import check_optimizer
from keras_split.training.optimizer_copy import optimizer_copy
from keras_split.training.optimizer_description import own_name

_MAX_GRAPHS = 8
_MakeGraph = Callable[
    [keras.optimizers.Optimizer, keras.Model | None], MicrobatchGraph
]
_OWN = "the server's own"


class BodyOptimizers:
    """Optimizers for the sessions of one body. Not for two threads at once.

    Sessions whose optimizers differ in their learning rates alone share a
    graph.

    Args:
        body: The body as a functional model.
        make_graph: Makes a step's graph of an optimizer and, for a model that
            is cut once, a model that knows the loss.
    """

    def __init__(self, body: keras.Model, make_graph: _MakeGraph) -> None:
        self._body = body
        self._make_graph = make_graph
        self._steps: dict[tuple[str, str], SharedStep] = {}
        # Those of clients in this process, which no config tells all of, and
        # the variables that they may know.
        self._known: dict[str, tuple[keras.optimizers.Optimizer, Any]] = {}
        # The server's own, for all who serve the body: slots have one place.
        self._adopted: BodyOptimizer | None = None

    def forget(self) -> None:
        """Forgets compiled graphs."""
        self._steps, self._adopted = {}, None

    def know(self, optimizer: keras.optimizers.Optimizer) -> str:
        """Takes the optimizer of a client in this process as it is.

        Returns:
            What its `Hello` says instead of a config.
        """
        name = own_name(optimizer)
        config = json.dumps(
            {"class_name": name, "config": {}, "known": secrets.token_hex(16)}
        )
        while len(self._known) >= _MAX_GRAPHS:
            del self._known[next(iter(self._known))]
        self._known[config] = optimizer, self._body.variables
        return config

    def know_those_of(self, other: "BodyOptimizers") -> None:
        """Takes what a body took of which this one's is a copy."""
        self._known = other._known

    def check(self, config: str | None, loss: str) -> None:
        """Reads the configs of a `Hello` without making anything large.

        Args:
            config: Of the optimizer; None if the server has its own.
            loss: Of the loss, for a model that is cut once.

        Raises:
            ProtocolError: As `of_client` would.
        """
        if config is not None and config not in self._known:
            OptimizerConfig.read(config)
        if loss:
            loss_model(loss)

    def of_client(self, config: str, loss: str) -> BodyOptimizer:
        """An optimizer for a session, from the configs in its `Hello`.

        Raises:
            ProtocolError: With reason `"optimizer"` or `"loss"`, if they say
                what a client may not ask for.
        """
        return BodyOptimizer(self._asked(config, loss))

    def of_all(self, config: str) -> BodyOptimizer:
        """One for all sessions, from the config in the `Hello` of the first.

        Raises:
            ProtocolError: As `of_client` would.
        """
        return BodyOptimizer(self._asked(config, ""), lasting=True)

    def key(self, config: str) -> str:
        """What of a config must be alike where one optimizer is for all.

        Raises:
            ProtocolError: With reason `"optimizer"`, if it is none.
        """
        if config not in self._known:
            return OptimizerConfig.read(config).key
        optimizer, _ = self._known[config]
        told = keras.optimizers.serialize(optimizer)
        told["config"] = {
            key: value
            for key, value in told["config"].items()
            if key not in ("learning_rate", "name")
        }
        return json.dumps(told, sort_keys=True, default=str)

    def adopt(
        self,
        optimizer: keras.optimizers.Optimizer | BodyOptimizer,
        own_learning_rate: bool = False,
    ) -> BodyOptimizer:
        """The server's own optimizer; see `ServerHalf.adopt`.

        Raises:
            OptionError: If it has several learning rates, or averages
                weights, or was built for others than these.
        """
        if not isinstance(optimizer, BodyOptimizer):
            check_optimizer(optimizer)
            return self._servers(optimizer, own_learning_rate)
        graph = optimizer.graph
        moved = graph.body.variables, self._body.variables
        copied = optimizer_copy(graph.optimizer, moved=moved)
        made = BodyOptimizer(
            self._share(copied), True, optimizer.own_learning_rate
        )
        made.set_weights(optimizer.weights())
        return made

    def with_loss(self, own: BodyOptimizer, loss: str) -> BodyOptimizer:
        """The server's own optimizer, for a session whose loss is here.

        Raises:
            ProtocolError: With reason `"loss"`.
        """
        if not loss:
            return own
        optimizer = own.graph.optimizer
        # A server that is compiled again has another.
        key = f"{_OWN} {id(optimizer)}", loss
        step = self._step(key, lambda: optimizer)
        return WithLoss(own, step)

    def _servers(
        self, optimizer: keras.optimizers.Optimizer, own_learning_rate: bool
    ) -> BodyOptimizer:
        """The server's own, made once."""
        made = self._adopted
        if (
            made is None
            or made.graph.optimizer is not optimizer
            or made.own_learning_rate != own_learning_rate
        ):
            check_knows(optimizer, self._body.trainable_variables)
            shared = self._share(optimizer)
            made = BodyOptimizer(shared, True, own_learning_rate)
            self._adopted = made
        return made

    def _asked(self, config: str, loss: str) -> SharedStep:
        """The graph of what a client asks for."""
        if config in self._known:
            return self._step((config, loss), lambda: self._taken(config))
        read = OptimizerConfig.read(config)
        return self._step(
            (read.key, loss),
            lambda: body_optimizer.build(read, self._body.variables),
        )

    def _taken(self, config: str) -> keras.optimizers.Optimizer:
        """A copy of what a client in this process has."""
        optimizer, variables = self._known[config]
        moved = variables, self._body.variables
        return optimizer_copy(optimizer, fixed_rate=True, moved=moved)

    def _step(
        self,
        key: tuple[str, str],
        make: Callable[[], keras.optimizers.Optimizer],
    ) -> SharedStep:
        if key not in self._steps:
            self._make_room()
            self._steps[key] = self._share(make(), key[1])
        return self._steps[key]

    def _make_room(self) -> None:
        """Makes room for one more optimizer: each has a graph and slots."""
        for key, shared in list(self._steps.items()):
            if len(self._steps) >= _MAX_GRAPHS and not shared.users:
                del self._steps[key]
        if len(self._steps) >= _MAX_GRAPHS:
            raise ProtocolError(
                f"Expected at most {_MAX_GRAPHS} different optimizers of "
                "clients at a time. Received: one more. Use one that others "
                "use, or start the server with its own: serve --optimizer.",
                "optimizer",
            )

    def _share(
        self, optimizer: keras.optimizers.Optimizer, loss: str = ""
    ) -> SharedStep:
        model = loss_model(loss) if loss else None
        return SharedStep(self._make_graph(optimizer, model), optimizer)
