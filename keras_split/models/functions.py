"""What Keras calls for the batches of `fit`, `evaluate` and `predict`."""

import logging
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.client import in_graph
from keras_split.compression import codecs
from keras_split.compression.cut import ClientCuts
from keras_split.errors import SplitError
from keras_split.models import uncounted
from keras_split.protocol import validation
from keras_split.protocol.wire.size import nbytes
from keras_split.training import input_checks
from keras_split.training import tf_threads
from keras_split.training.crossed_step import CrossedStep
from keras_split.training.in_graph import InGraphBody
from keras_split.training.in_graph import apart
from keras_split.training.known_batch import KnownBatch
from keras_split.utils import retracing

if TYPE_CHECKING:
    from keras_split.models.client import ClientModel

Function = Callable[[Any], Any]
_LOG = logging.getLogger("keras_split")


def guarded(
    client: "ClientModel", function: Function, *, log: bool = False
) -> Function:
    """Raises what a callback raised, not TensorFlow's report of it.

    Args:
        client: Whose function it is.
        function: Takes an iterator of batches, and returns logs or outputs.
        log: Whether it returns logs. A step that is not finite is not taken,
            so nothing moves, and its loss is logged as NaN for
            `keras.callbacks.TerminateOnNaN` to see.
    """
    explain = explained(client, function)

    def guard(iterator: Any) -> Any:
        try:
            return explain(iterator)
        except SplitError as error:
            if not log:
                raise
            return not_taken(client, error)

    return guard


def explained(client: "ClientModel", function: Function) -> Function:
    """Raises what a callback raised, whatever the function returns."""
    calls = client._half.calls

    def explain(data: Any) -> Any:
        with retracing.expected(), calls.explained():
            try:
                return function(data)
            except tf.errors.InvalidArgumentError:
                head, contract = client.head, client.contract
                with input_checks.explained(head.inputs, contract.shared):
                    raise

    return explain


def not_taken(client: "ClientModel", error: SplitError) -> Any:
    """Logs of a step that is not finite; raises any other error."""
    reason = getattr(error, "reason", "")
    if reason not in validation.NOT_TAKEN:
        raise error
    if reason == "norm":
        _LOG.warning("%s", error)
    uncounted.note(client, uncounted.NOT_TAKEN)
    for metric in client.metrics:
        if metric.name == "loss":
            metric.update_state(float("nan"))
    return client.get_metrics_result()


def metrics_result(
    client: "ClientModel", result: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What Keras' `get_metrics_result` returns, as far as there is anything.

    Keras builds metrics with the first batch that was trained. A phone of a
    merged cohort may have seen some by then, of which the server has drawn
    none.
    """
    built = [m for m in client.metrics if getattr(m, "built", True)]
    if len(built) == len(client.metrics):
        return result()
    return {metric.name: metric.result() for metric in built}


def plain(function: Any) -> Any:
    """What a function stands for that took its place in one `fit`."""
    return getattr(function, "plain", function)


def waiting(function: Function) -> Function:
    """Holds a thread for a step whose graph waits for the server."""
    places = tf_threads.places()

    def wait(iterator: Any) -> Any:
        with places:
            return function(iterator)

    return wait


def joining(
    client: "ClientModel", body: InGraphBody, cuts: ClientCuts
) -> Function:
    """Takes each step in one graph with the server's.

    The server is free for others while the data of a step are awaited, and
    while bytes are counted.
    """
    codec = codecs.get(client.contract.codec)
    known_batch = KnownBatch()

    def step(
        data: Any, own_batch: int | None, body_batch: int | None
    ) -> tuple[Any, CrossedStep]:
        tensors = iter(apart(_tensors(data), own_batch))
        data = keras.tree.map_structure(
            lambda t: next(tensors) if isinstance(t, tf.Tensor) else t, data
        )
        known = replace(body, batch=body_batch)
        logs, crossed = client._take_step(data, known)
        assert crossed is not None
        return logs, crossed

    compiled = tf.function(step, reduce_retracing=True, autograph=False)

    def take(data: Any, varies: bool) -> Any:
        batch = _tensors(data)[0].shape[0]
        own_batch = known_batch(None if varies else batch)
        body_batch = body.known_batch(batch)
        session = client.strategy.session
        with in_graph.joint_step(session) as numbered, body.explained():
            logs, crossed = compiled(data, own_batch, body_batch)
        durable_steps = in_graph.durable_steps(session)
        moment = session.connection.moment
        sent, received = (
            sum(nbytes(message, codec) for message in messages)
            for messages in crossed.messages(
                cuts,
                *numbered,
                durable_steps,
                moment,
                session.connection.frozen_body,
            )
        )
        in_graph.count(session, sent, received)
        return logs

    def join(iterator: Any) -> Any:
        specs = keras.tree.flatten(getattr(iterator, "element_spec", ()))
        varies = any(_batch_varies(spec) for spec in specs)
        logs = None
        for data in islice(iterator, client.steps_per_execution):
            logs = take(bare(data), varies)
        if logs is None:
            raise StopIteration
        return logs

    return join


def _tensors(data: Any) -> list[tf.Tensor]:
    flat = keras.tree.flatten(data)
    return [tensor for tensor in flat if isinstance(tensor, tf.Tensor)]


def bare(data: Any) -> Any:
    """A batch as tensors, and None for what Keras has as an Optional."""
    return keras.tree.map_structure(_bare, data)


def _bare(value: Any) -> Any:
    """A tensor, or None for what Keras puts into a batch as an Optional."""
    if isinstance(value, tf.experimental.Optional):
        return None
    return tf.constant(value) if isinstance(value, np.ndarray) else value


def _batch_varies(spec: Any) -> bool:
    shape = getattr(spec, "shape", tf.TensorShape(()))
    return bool(shape.rank is None or shape[:1] == (None,))
