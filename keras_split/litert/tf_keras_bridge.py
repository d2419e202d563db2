"""A Keras 3 model as a tf_keras model with the same weights.

tensorflow-model-optimization knows no Keras 3: it raises ValueError at some
calls and returns None at others (measured with 0.8.1 and Keras 3.15). Configs
of the two differ too much to be translated, so the graph is walked and each
layer is made anew from the arguments that both sides know.
"""

import contextlib
import inspect
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_split.errors import BackendError
from keras_split.errors import ExportError
from keras_split.partition.graph import Graph
from keras_split.partition.graph import Tensor
from keras_split.utils.extras import install

_VARIABLE = "TF_USE_LEGACY_KERAS"
# What a layer starts from or is trained with says nothing about its output.
_LEFT_OUT = ("_initializer", "_regularizer", "_constraint")


@dataclass(frozen=True)
class Twin:
    """A model in tf_keras, and whose layer each of its layers is.

    Attributes:
        model: The tf_keras model; nested models are opened up.
        layers: Keras 3 layers by the name of their twin.
    """

    model: Any
    layers: dict[str, Any]

    def difference(self, inputs: list[Any], outputs: list[Any]) -> float:
        """Largest difference to `outputs`, relative to their largest value."""
        made = flat(self.model(inputs, training=False))
        return max(
            float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-12))
            for a, b in zip(map(np.asarray, made), outputs, strict=True)
        )


def load() -> tuple[Any, Any]:
    """Imports tensorflow-model-optimization and tf_keras: `(tfmot, tf_keras)`.

    Importing tfmot sets TF_USE_LEGACY_KERAS, which child processes inherit,
    and lets `tf.keras` become tf_keras if nobody has used it yet. Neither is
    to be seen from outside.

    Raises:
        BackendError: If one of them is missing.
    """
    with _contained():
        try:
            import tensorflow_model_optimization as tfmot
            import tf_keras
        except ImportError as error:
            raise BackendError(
                "Expected tensorflow-model-optimization and tf_keras, for "
                f"quantization-aware training. Received: {error}. "
                f"Run: {install('qat')}"
            ) from error
    return tfmot, tf_keras


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    _ = tf.keras.Model  # from here on `tf.keras` is what it is
    before = os.environ.get(_VARIABLE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before


def build_twin(model: keras.Model, tf_keras: Any) -> Twin:
    """Builds a tf_keras model that computes what `model` computes.

    Raises:
        ExportError: If a layer has no twin; the message names all of them.
    """
    graph = Graph(model)
    made: dict[Tensor, Any] = {
        tensor: tf_keras.Input(
            batch_shape=tuple(tensor.spec.shape),
            dtype=tensor.spec.dtype,
            name=f"input_{i}",
        )
        for i, tensor in enumerate(graph.inputs)
    }
    inputs = list(made.values())
    twins: dict[int, Any] = {}
    problems = []
    for call in graph.calls:
        if id(call.operation) not in twins:
            name = call.path.partition("#")[0].replace("/", "_")
            try:
                twins[id(call.operation)] = _twin_layer(
                    call.operation, name, tf_keras
                )
            except (TypeError, ValueError) as error:
                problems.append(f"{call.path!r} ({error})")
    if problems:
        raise ExportError(
            "Expected layers that tf_keras has as well. Received: "
            f"{'; '.join(problems)}. Cut so that the server has them, or "
            "leave out quantize_aware: export(precision='int8') needs no twin."
        )
    for call in graph.calls:
        args, kwargs = keras.tree.map_structure(
            lambda v: made[v] if isinstance(v, Tensor) else v,
            (call.args, call.kwargs),
        )
        kwargs = {
            key: value
            for key, value in kwargs.items()
            if value is not None and key not in ("mask", "training")
        }
        results = flat(twins[id(call.operation)](*args, **kwargs))
        made.update(zip(call.outputs, results, strict=True))
    layers = {}
    for call in graph.calls:
        layer, twin = call.operation, twins[id(call.operation)]
        layers[twin.name] = layer
        _copy_weights(layer, twin)
    outputs = [made[tensor] for tensor in graph.outputs]
    return Twin(tf_keras.Model(inputs, outputs, name=model.name), layers)


def flat(outputs: Any) -> list[Any]:
    """Outputs of a model as a list, one or many."""
    found: list[Any] = keras.tree.flatten(outputs)
    return found


def _twin_layer(layer: Any, name: str, tf_keras: Any) -> Any:
    kind = type(layer)
    twin = getattr(tf_keras.layers, kind.__name__, None)
    # An operation such as `x + y` is named as a layer is, and is none.
    own = isinstance(layer, keras.layers.Layer)
    if kind is keras.layers.Lambda:
        raise ValueError("a Lambda is code, which may call Keras 3")
    if twin is None or not own or not kind.__module__.startswith("keras."):
        raise ValueError(f"tf_keras has no {kind.__name__}")
    known = {"name", "trainable"}
    for base in twin.__mro__:
        if "__init__" in vars(base):
            known |= set(inspect.signature(base.__init__).parameters)
    config = {
        key: value
        for key, value in layer.get_config().items()
        if key in known and not key.endswith(_LEFT_OUT)
    }
    activation = config.get("activation")
    if isinstance(activation, dict):
        config["activation"] = activation["config"]
    return twin(**config | {"name": name, "dtype": "float32"})


def _copy_weights(layer: Any, twin: Any) -> None:
    values = layer.get_weights()
    expected = [tuple(w.shape) for w in twin.weights]
    if len(expected) == len(values) + 1 and expected[-1] == ():
        values = [*values, np.zeros(())]  # `count` of tf_keras' Normalization
    if [v.shape for v in values] != expected:
        raise ExportError(
            f"Expected {layer.name!r} to have weights of the shapes "
            f"{expected} in tf_keras. Received: {[v.shape for v in values]}. "
            "Cut so that the server has this layer."
        )
    twin.set_weights(values)
