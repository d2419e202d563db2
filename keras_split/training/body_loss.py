"""The loss of a model that is cut once, which its server computes."""

import json
import math
from typing import Any

import keras

from keras_split.errors import ProtocolError

_MAX_TEXT = 1 << 16


def loss_model(config: str) -> keras.Model:
    """A model without layers that knows how to compute the loss.

    Args:
        config: JSON of what the client was compiled with, as in `Hello`.

    Raises:
        ProtocolError: With reason `"loss"`, if it is not of `keras.losses`.
    """
    try:
        if len(config) > _MAX_TEXT:
            raise ValueError(f"{len(config)} characters")
        given = json.loads(config)
        _check_losses(given)
        values = keras.saving.deserialize_keras_object(given, safe_mode=True)
        made = keras.Model()
        made.compile(
            loss=_each(_resolved, values["loss"]),
            loss_weights=_each(_finite, values["loss_weights"]),
        )
    except (
        ValueError,
        TypeError,
        KeyError,
        ImportError,
        RecursionError,
    ) as error:
        raise ProtocolError(
            "Expected the config of a Keras loss, because a model that is "
            f"cut once has its loss on the server. Received: {config[:200]!r}"
            f" ({error}). Use a loss of keras.losses.",
            "loss",
        ) from error
    return made


def _check_losses(value: Any) -> None:
    """Raises a `ValueError` for anything but what is in `keras.losses`.

    Keras would build any of its classes from a config, large ones as well.
    """
    if isinstance(value, dict) and "class_name" in value:
        name, module = value["class_name"], value.get("module")
        if (name, module) == ("function", "builtins"):
            name, module = value.get("config"), "keras.losses"
        if module != "keras.losses" or not _is_loss(name):
            raise ValueError(f"{name!r} of {module!r} is none")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _check_losses(item)


def _is_loss(name: Any) -> bool:
    """Whether that is the name of a loss in `keras.losses`."""
    found = getattr(keras.losses, name, None) if isinstance(name, str) else None
    if isinstance(found, type):
        return issubclass(found, keras.losses.Loss) and name != "Loss"
    return callable(found) and name not in ("get", "serialize", "deserialize")


def _each(function: Any, value: Any) -> Any:
    """The same for each output."""
    if isinstance(value, dict):
        return {key: _each(function, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_each(function, item) for item in value]
    return None if value is None else function(value)


def _resolved(loss: Any) -> Any:
    if isinstance(loss, str) and not _is_loss(loss):
        loss = keras.losses.get(loss)  # an alias, such as "mse"
    if isinstance(loss, str) or callable(loss):
        return loss
    raise ValueError(f"{loss!r} is none")


def _finite(weight: Any) -> float:
    if not math.isfinite(float(weight)):
        raise ValueError(f"loss_weights={weight!r}")
    return float(weight)
