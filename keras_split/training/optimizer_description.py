"""What a client says of its optimizer, for a body to get one like it."""

import json
from collections.abc import Mapping
from numbers import Integral
from numbers import Real
from typing import Any

import keras
import numpy as np

from keras_split.errors import ProtocolError
from keras_split.protocol import optimizer_config
from keras_split.protocol.optimizer_config import OptimizerConfig
from keras_split.utils import keras_private

_SCALED = keras.optimizers.LossScaleOptimizer


def describe(
    optimizer: keras.optimizers.Optimizer | None,
    half: keras.Model | None = None,
    body: keras.Model | None = None,
) -> str:
    """An optimizer as JSON, with the learning rate of this moment.

    Read off its attributes and not its config: a schedule need not have one,
    for its rate travels with each step.

    Args:
        optimizer: Of the client; None if it only predicts.
        half: The client's model, whose variables are no news to it.
        body: The server's, if it is at hand.

    Raises:
        ProtocolError: With reason `"optimizer"`, if it excludes variables from
            weight decay of which nobody here knows whose they are.
    """
    if optimizer is None:
        return OptimizerConfig("SGD", {"learning_rate": 0.0}).text
    if not _is_stock(optimizer):
        # Only a server with an optimizer of its own goes on with that.
        return json.dumps({"class_name": own_name(optimizer), "config": {}})
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    name = type(inner).__name__
    fields = _fields(inner, optimizer_config.CLASSES[name])
    names, numbers = _excluded(inner, half, body)
    loss_scale = None
    if inner is not optimizer:
        loss_scale = _fields(optimizer, optimizer_config.LOSS_SCALE)
    return OptimizerConfig(name, fields, names, numbers, loss_scale).text


def is_told(optimizer: keras.optimizers.Optimizer | None) -> bool:
    """Whether its description tells all of it."""
    if optimizer is None:
        return True
    if not _is_stock(optimizer):
        return False
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    names, *_ = keras_private.excluded(inner)
    names += getattr(inner, "exclude_layers", None) or ()
    return all(map(optimizer_config.is_literal, names))


def own_name(optimizer: keras.optimizers.Optimizer) -> str:
    """The name of the first class that is not of Keras, or is changed."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    kind = type(optimizer if _is_stock(inner) else inner)
    if kind is _SCALED or kind.__name__ in optimizer_config.CLASSES:
        return f"{kind.__module__}.{kind.__name__}"
    return kind.__name__


def _is_stock(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether it and what is in it are of Keras, with no method of its own."""
    kind = type(optimizer)
    if any(callable(getattr(kind, name, None)) for name in vars(optimizer)):
        return False
    if kind is _SCALED:
        return _is_stock(optimizer.inner_optimizer)
    known = kind.__name__ in optimizer_config.CLASSES
    return known and kind is getattr(keras.optimizers, kind.__name__, None)


def _fields(
    optimizer: keras.optimizers.Optimizer, known: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        name: _plain(getattr(optimizer, name))
        for name in known
        if hasattr(optimizer, name)
    }


def _plain(value: Any) -> Any:
    """A value as JSON has it: also of NumPy, or in a variable."""
    if value is None or isinstance(value, str | bool | np.bool_):
        return bool(value) if isinstance(value, np.bool_) else value
    if isinstance(value, list | tuple):
        return list(map(_plain, value))
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    return float(keras.ops.convert_to_numpy(value))


def _excluded(
    optimizer: keras.optimizers.Optimizer,
    half: keras.Model | None,
    body: keras.Model | None,
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Which weights do not decay: parts of names, and numbers in the body."""
    mine = half.variables if half is not None else ()
    theirs = body.variables if body is not None else ()
    names, numbers, strange = keras_private.excluded(optimizer, mine, theirs)
    if strange and body is None:
        raise ProtocolError(
            "Expected exclude_from_weight_decay with names, or with variables "
            f"of this half. Received: {strange} of another model, of which "
            "the server would not know. Use var_names=[...].",
            "optimizer",
        )
    return tuple(names), tuple(numbers)
