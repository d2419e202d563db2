"""Which loss fits an output, and in which form it wants labels."""

import inspect
from typing import Any

import click
import keras
import numpy as np

from keras_split.errors import DataError
from keras_split.utils import keras_private
from keras_split_cli.label_form import LabelForm

_ADVICE = (
    "Pass --loss, such as sparse_categorical_crossentropy for one class out "
    "of several, binary_crossentropy for two, or mse for numbers."
)
# What leaves the values of an output as they are.
_PLAIN = (
    keras.layers.ActivityRegularization,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Identity,
    keras.layers.Reshape,
)
SOFTMAX, SIGMOID, LINEAR = "softmax", "sigmoid", "linear"


def named(name: str, output: Any) -> keras.Loss:
    """The loss that a user asks for by name.

    Args:
        name: As Keras has it, of a class or a function.
        output: The symbolic output that it is of; None if it is elsewhere.

    Returns:
        The loss, of logits where it can be and the output has them.

    Raises:
        click.BadParameter: If there is none of that name.
    """
    try:
        found = keras.losses.get(name)
    except (TypeError, ValueError):
        found = None
    wanted = _key(getattr(found, "__name__", type(found).__name__))
    for kind in _stock() if found is not None else ():
        if _key(kind.__name__) == wanted:
            able = "from_logits" in inspect.signature(kind).parameters
            if able and output is not None and activation(output) == LINEAR:
                return kind(from_logits=True)
            return kind()
    raise click.BadParameter(
        "Expected the name of a loss of Keras, such as "
        f"sparse_categorical_crossentropy. Received: {name!r}.",
        param_hint="'--loss'",
    )


def fitting(output: Any, labels: Any) -> keras.Loss:
    """The loss of a client that was compiled with none.

    Args:
        output: The symbolic output of the tail; None if it has none.
        labels: Of the training, as they come.

    Raises:
        DataError: If more than one could be meant.
    """
    if output is None:
        raise DataError(
            "Expected a compiled client, for its output is on the server and "
            "cannot be seen here. Received: one without a loss. " + _ADVICE
        )
    kind, columns = activation(output), output.shape[-1]
    several = columns is not None and columns > 1
    numbered = (labels == np.floor(labels)).all() and labels.min() >= 0
    rows = labels.ndim == len(output.shape) and labels.shape[-1] == columns
    if several and kind in (SOFTMAX, LINEAR) and numbered:
        if not rows:
            return keras.losses.SparseCategoricalCrossentropy(
                from_logits=kind == LINEAR
            )
        if (labels.sum(-1) == 1).all():
            return keras.losses.CategoricalCrossentropy(
                from_logits=kind == LINEAR
            )
    if columns == 1 and kind == SIGMOID:
        return keras.losses.BinaryCrossentropy()
    raise DataError(
        "Expected a client that was compiled with a loss, or an output that "
        "tells which: a softmax, a number for each class, or one sigmoid. "
        f"Received: an output of shape {tuple(output.shape)} by "
        f"{keras_private.made_by(output).name!r}. " + _ADVICE
    )


def accuracy(loss: keras.Loss) -> list[Any]:
    """The metrics that go with a loss, where nobody says."""
    kind = _key(type(loss).__name__)
    if kind.startswith("binary"):
        logits = getattr(loss, "from_logits", False)
        threshold = 0.0 if logits else 0.5
        return [keras.metrics.BinaryAccuracy("accuracy", threshold=threshold)]
    return ["accuracy"] if "crossentropy" in kind else []


def form(loss: Any, output: Any) -> LabelForm:
    """The form in which a loss wants labels.

    Args:
        loss: What `compile` was given for the output: a loss, its name or a
            function.
        output: The symbolic output; None if it is elsewhere.
    """
    found: Any = keras.losses.get(loss)
    name = getattr(found, "__name__", type(found).__name__)
    kinds: list[Any] = [found]
    if isinstance(found, keras.Loss):
        # One's own that is made from one of Keras' wants what that wants.
        kinds = [*type(found).__mro__]
    stock = [kind.__name__ for kind in kinds if _is_of_keras(kind)]
    keys = set(map(_key, stock))
    return LabelForm(
        name,
        sparse="sparsecategoricalcrossentropy" in keys,
        shape=None if output is None else tuple(output.shape[1:]),
        binary=any(key.startswith("binary") for key in keys),
        ignored=getattr(found, "ignore_class", None),
        known=bool(stock),
    )


def activation(output: Any) -> str:
    """What makes the values of an output; empty if that is something else."""
    operation = keras_private.made_by(output)
    inner = keras_private.functional(operation)
    if inner is not None:
        return activation(inner.outputs[0])
    kind = type(operation).__name__
    if kind in ("Softmax", "Sigmoid"):
        return kind.lower()
    if isinstance(operation, _PLAIN):
        return activation(operation.input)
    name = getattr(getattr(operation, "activation", None), "__name__", "")
    if isinstance(operation, keras.layers.Activation) and name == LINEAR:
        return activation(operation.input)
    return name if name in (SOFTMAX, SIGMOID, LINEAR) else ""


def _is_of_keras(kind: Any) -> bool:
    """Whether a class or a function is one of Keras' losses."""
    known = getattr(keras.losses, kind.__name__, None)
    return known is kind and kind is not keras.Loss


def _stock() -> list[Any]:
    """The classes of losses that Keras has."""
    return [
        kind
        for kind in vars(keras.losses).values()
        if inspect.isclass(kind) and issubclass(kind, keras.Loss)
    ]


def _key(name: str) -> str:
    """A name of a class or a function, so that both are one."""
    return name.replace("_", "").lower()
