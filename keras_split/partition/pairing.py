"""Which tensor a model reads as which of its inputs.

A model may be called with a tensor, a list, or a dict by name, in any order.
What it then does with them stands here as Keras 3 does it in
`Functional._standardize_inputs`, for models that are not called whole: one
that is opened up inside another, and one that is cut.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras

from keras_split.utils import keras_private


class Closed(Exception):
    """Why a model inside a model cannot be taken as the calls it is made of."""


def pair(
    model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Any]:
    """What each input of a model inside a model is given.

    Args:
        model: The inner model, functional.
        args: What it is called with, by position.
        kwargs: What it is called with, by name.

    Returns:
        As many as the model has inputs, in their order.

    Raises:
        Closed: If its layers would not get the same when called one by one.
    """
    given, *rest = [*args, *([] if args else [kwargs["inputs"]])]
    # A `training` that is said here is none: that of the outer call wins.
    others = [rest[1:], {k: v for k, v in kwargs.items() if k not in _KNOWN}]
    if any(value is not None for value in keras.tree.flatten(others)):
        raise Closed("it is called with a mask, or more than its inputs")
    if model.activity_regularizer is not None:
        raise Closed("it has an activity regularizer of its own")
    names = keras.tree.map_structure(
        lambda tensor: tensor.name, keras_private.inputs_struct(model)
    )
    paired = in_order(names, given)
    if paired is None or any(value is None for value in paired):
        raise Closed(
            "it is not called with just the inputs that it was made of"
        )
    return paired


_KNOWN = ("inputs", "training")


def in_order(names: Any, given: Any) -> list[Any] | None:
    """Inputs, flat, in the order of the model's own.

    Args:
        names: Names of the model's inputs, in the structure it was made of.
        given: What it is called with: a tensor, a list, or a dict.

    Returns:
        None if they do not fit, or Keras does not say which is which.
    """
    if isinstance(given, Mapping):
        picked = _by_key(names, given)
    elif isinstance(names, Mapping) and list(names) != sorted(names):
        picked = None  # in which of two orders, Keras refuses to guess
    else:
        picked = given
    if picked is None:
        return None
    flat: list[Any] = keras.tree.flatten(picked)
    return flat if len(flat) == len(keras.tree.flatten(names)) else None


def _by_key(names: Any, given: Mapping[str, Any]) -> Any:
    """A dict by key for inputs made of a dict, by name for any others."""
    if isinstance(names, Mapping):
        return (
            {key: given[key] for key in names}
            if all(key in given for key in names)
            else None
        )
    wanted = [names] if isinstance(names, str) else list(names)
    if not all(isinstance(name, str) and name in given for name in wanted):
        return None
    return [given[name] for name in wanted]


def cast(given: Any, wanted: Any) -> Any:
    """The operation that makes an input of a model of what it is given.

    Args:
        given: The symbolic tensor that the model is called with.
        wanted: The symbolic tensor that it was made of.

    Returns:
        None if what is given has the dtype already.

    Raises:
        Closed: If the model does more than to cast it.
    """
    if len(given.shape) != len(wanted.shape):
        raise Closed("it is called with a tensor of another rank")
    if given.dtype == wanted.dtype:
        return None
    if keras_private.mask_of(given) is not None:
        raise Closed("it casts an input that has a mask")
    return keras_private.made_by(keras.ops.cast(given, wanted.dtype))
