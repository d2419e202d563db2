"""What Keras calls for the batches of `fit`, `evaluate` and `predict`."""

import logging
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.errors import SplitError
from keras_split.protocol import validation
from keras_split.training import tf_threads
from keras_split.training.in_graph import InGraphBody

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
    half = client._half

    def guard(iterator: Any) -> Any:
        half.failure = None
        try:
            return function(iterator)
        except (tf.errors.OpError, SplitError) as error:
            failure = half.failure or error
            if isinstance(failure, tf.errors.OpError):
                raise
            reason = getattr(failure, "reason", "")
            if log and reason in validation.NOT_TAKEN:
                if reason == "norm":
                    _LOG.warning("%s", failure)
                for metric in client.metrics:
                    if metric.name == "loss":
                        metric.update_state(float("nan"))
                return client.get_metrics_result()
            raise failure from (None if failure is error else error)
        finally:
            half.failure = None

    return guard


def waiting(function: Function) -> Function:
    """Holds a thread for a step whose graph waits for the server."""
    places = tf_threads.places()

    def wait(iterator: Any) -> Any:
        with places:
            return function(iterator)

    return wait


def joining(client: "ClientModel", joint: InGraphBody) -> Function:
    """Takes each step in one graph with the server's.

    The server is free for others while the data of a step are awaited.
    """

    def step(data: Any, head_knows: Any, body_knows: Any) -> Any:
        data = joint.prepare(data, head_knows, body_knows)
        return client.train_step(data)

    compiled = tf.function(step, reduce_retracing=True, autograph=False)

    def join(iterator: Any) -> Any:
        specs = keras.tree.flatten(getattr(iterator, "element_spec", ()))
        varies = any(_batch_varies(spec) for spec in specs)
        logs = None
        for data in islice(iterator, client.steps_per_execution):
            data = keras.tree.map_structure(_bare, data)
            with client.strategy.joint_step(joint.sent), joint.explained():
                logs = compiled(data, *joint.known(data, varies))
        if logs is None:
            raise StopIteration
        return logs

    return join


def _bare(value: Any) -> Any:
    """A tensor, or None for what Keras puts into a batch as an Optional."""
    if isinstance(value, tf.experimental.Optional):
        return None
    return tf.constant(value) if isinstance(value, np.ndarray) else value


def _batch_varies(spec: Any) -> bool:
    shape = getattr(spec, "shape", tf.TensorShape(()))
    return bool(shape.rank is None or shape[:1] == (None,))
