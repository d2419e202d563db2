"""Client and server of one model in this process, for phones by the dozen."""

import contextlib
import itertools
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_split.client import in_graph
from keras_split.compiler import compile
from keras_split.compiler import hand_on
from keras_split.errors import OptionError
from keras_split.models import ClientModel
from keras_split.models import ServerModel
from keras_split.models.half_vector import HalfVector
from keras_split.training import input_checks
from keras_split.training.body_copy import body_copy
from keras_split.training.commit import is_float
from keras_split.training.crossed_step import CrossedStep
from keras_split.training.in_graph import InGraphBody
from keras_split.utils import retracing

_ROWS = 500  # of a batch that is scored


class Pair:
    """Client and server of one model in this process.

    One graph takes a step of both, the one that `fit` takes with a server in
    the same process: its numbers are those of a step over a network. Which
    phone's step it is, is a matter of which values the variables have.

    Args:
        client: A compiled `keras_split.ClientModel`.
        server: The other half.
        batchnorm: `"average"`, or `"local"` for batch normalization of head
            and tail that each phone keeps to itself.

    Attributes:
        client: The phone's half.
        server: The body.
        half: What is averaged of head and tail: weights that are trained, and
            statistics of batch normalization.
        body: What the body learns: weights and statistics.
        own: What a phone keeps to itself: slots of both optimizers, numbers
            of steps, seeds, local batch normalization.

    Raises:
        OptionError: If a step runs eagerly, or sequences have several
            lengths.
    """

    def __init__(
        self, client: Any, server: Any, batchnorm: str = "average"
    ) -> None:
        self.client: ClientModel = client
        self.server: ServerModel = server
        if self.client.contract.buckets:
            raise OptionError(
                "Expected sequences of one length, for simulated phones. "
                f"Received: lengths={list(self.client.contract.lengths)}. "
                "Give the model one: keras_split.fix_length(model, length)."
            )
        link = client._server_link
        link.server = server
        client.optimizer.build(client.trainable_variables)
        client.connect()
        link.bind(client._joins)
        self._body: InGraphBody | None = link.in_graph_body
        if self._body is None:
            raise OptionError(
                "Expected a model whose step is one graph with the body's. "
                "Received: one that runs eagerly. Compile it without "
                "run_eagerly=True."
            )
        with retracing.expected(), in_graph.joint_step(client.strategy.session):
            pass  # from now on the body's optimizer has this client's slots
        self.half = HalfVector(client, batchnorm).variables
        body_optimizer = self._body.graph.optimizer
        self.body = [v for v in self.server.body.variables if is_float(v)]
        known = {id(v) for v in self.half}
        local = [v for v in HalfVector(client).variables if id(v) not in known]
        self.own = _once(
            [
                *filter(_changes, client.optimizer.variables),
                *filter(_changes, body_optimizer.variables),
                *local,
                *itertools.filterfalse(is_float, client.head.variables),
                *itertools.filterfalse(is_float, client.tail.variables),
                *itertools.filterfalse(is_float, self.server.body.variables),
            ]
        )
        self._step: Any = None
        self._scored: Any = None

    @classmethod
    def of(
        cls,
        model: keras.Model,
        cut: Any,
        batchnorm: str = "average",
        **options: Any,
    ) -> "Pair":
        """The halves of a copy of a model.

        Args:
            model: A compiled model. It stays as it is.
            cut: As in `keras_split.compile`.
            batchnorm: See `Pair`.
            **options: Of `keras_split.compile`.

        Raises:
            OptionError: If the model is not compiled, or is cut once.
        """
        if not model.compiled or model.optimizer is None:
            raise OptionError(
                "Expected a model that is compiled: what simulated phones "
                "train with. Received: one that is not. Call model.compile("
                "optimizer, loss, metrics=['accuracy'])."
            )
        client, server = compile(body_copy(model), cut, **options)
        if client.tail is None:
            raise OptionError(
                "Expected a model that is cut twice, whose labels stay on the "
                f"phones. Received: cut={cut!r}. Name a second cut."
            )
        hand_on(model, client)
        return cls(client, server, batchnorm)

    def step(self, x: Any, y: Any) -> CrossedStep:
        """One step on a batch of any size; returns what crossed the cut."""
        data = keras.tree.map_structure(tf.convert_to_tensor, (x, y))
        if self._step is None:
            self._step = _compiled(self._take, data)
        with retracing.expected(), self._explained():
            crossed: CrossedStep = self._step(data)
        return crossed

    def begin_logs(self) -> None:
        """Forgets the loss of the steps so far."""
        self.client.reset_metrics()

    def loss(self) -> float:
        """The mean loss of the steps since `begin_logs`."""
        return float(self.client.get_metrics_result()["loss"])

    @property
    def tally(self) -> list[Any]:
        """Sum of the losses of examples so far, and how many there were."""
        (metric,) = (m for m in self.client.metrics if m.name == "loss")
        return [metric.total, metric.count]

    def evaluate(self, x: Any, y: Any) -> dict[str, float]:
        """Loss and metrics of the model as it is now."""
        client: Any = self.client
        client.reset_metrics()
        count = len(keras.tree.flatten(x)[0])
        for start in range(0, count, _ROWS):
            rows = slice(start, start + _ROWS)
            data = keras.tree.map_structure(
                lambda a, rows=rows: tf.convert_to_tensor(a[rows]), (x, y)
            )
            if self._scored is None:
                self._scored = _compiled(self._score, data)
            with retracing.expected(), self._explained():
                self._scored(data)
        return {k: float(v) for k, v in client.get_metrics_result().items()}

    def close(self) -> None:
        """Ends the session."""
        self.client.close()

    def _take(self, data: Any) -> CrossedStep:
        _, crossed = self.client._take_step(data, self._joint)
        assert crossed is not None
        return crossed

    def _score(self, data: Any) -> None:
        self.client._score(data, self._joint)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        client = self.client
        with (
            input_checks.explained(client.head.inputs, client.contract.shared),
            self._joint.explained(),
        ):
            yield

    @property
    def _joint(self) -> InGraphBody:
        assert self._body is not None
        return self._body


def _compiled(function: Callable[[Any], Any], data: Any) -> Any:
    """A graph for batches of any size."""
    return tf.function(
        function,
        input_signature=[keras.tree.map_structure(_any_rows, data)],
        autograph=False,
    )


def _changes(variable: Any) -> bool:
    """Whether an optimizer changes it; a rate is the same for all phones."""
    return bool(variable.name != "learning_rate")


def _once(variables: list[Any]) -> list[Any]:
    return list({id(variable): variable for variable in variables}.values())


def _any_rows(tensor: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype)
