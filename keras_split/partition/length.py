"""A model whose sequences have a length.

A layer takes sequences of any length, and text models are built so. What
crosses a cut has a shape that both sides know before.
"""

from collections.abc import Callable
from collections.abc import Mapping

import keras

from keras_split.errors import CutError
from keras_split.partition.graph import Graph
from keras_split.partition.graph import Tensor
from keras_split.partition.own_code import check_own_code
from keras_split.partition.replay import rebuilt

# Its tasks put a preprocessor before `fit`, and are Keras models otherwise.
_HUB = "keras_hub"


def fix_length(
    model: keras.Model, length: int | Mapping[str, int]
) -> keras.Model:
    """The layers of a model, for sequences of one length.

    Axes of its inputs that are None, the batch aside, become `length`; the
    layers, and so the weights, are those of the model, and nested models are
    opened up: a layer of `bert_backbone` is one of the model itself. Pad
    data to that length, as preprocessors of keras_hub do.

    A task of keras_hub may be given as it is. What it does with raw text, and
    the optimizer and loss that it came with, are not taken over: preprocess
    data before, and compile what this returns.

    Args:
        model: A functional model.
        length: Of all sequences; or of those of each input, by name. `{}`
            for a model that has none, such as one of images.

    Returns:
        A functional model, not compiled.

    Raises:
        CutError: If the model has code of its own that would be dropped, an
            input of unknown length has none in `length`, no layer takes such
            sequences, or two nested models have layers of the same name.

    Example:
    >>> keras.utils.clear_session()
    >>> ids = keras.Input((None,), dtype="int32", name="ids")
    >>> x = keras.layers.Embedding(10, 4)(ids)
    >>> fix_length(keras.Model(ids, x), 16).output.shape
    (None, 16, 4)
    """
    check_own_code(model, harmless=_HUB)
    try:
        return at_length(model, lambda tensor: _shape(tensor, length))
    except ValueError as error:
        raise CutError(
            f"Cannot fix the length of {model.name!r} at {length}: {error} "
            "Take a length that its layers allow, and give layers of nested "
            "models names of their own."
        ) from error


def opened(model: keras.Model) -> keras.Model:
    """The layers of a model whose sequences keep any length.

    As `fix_length`, but for the length.

    Raises:
        CutError: As there.
    """
    check_own_code(model, harmless=_HUB)
    try:
        return at_length(model, lambda tensor: tensor.spec.shape)
    except ValueError as error:
        raise CutError(
            f"Cannot open {model.name!r} up: {error} Give layers of nested "
            "models names of their own."
        ) from error


def at_length(
    model: keras.Model, shape: Callable[[Tensor], tuple[int | None, ...]]
) -> keras.Model:
    """A functional model of the same layers, for inputs of other shapes.

    Args:
        model: A functional model.
        shape: Of an input, with the batch axis.

    Raises:
        ValueError: What Keras says of shapes and names.
    """
    return rebuilt(model, Graph(model), shape, lambda m: m.operation)


def _shape(
    tensor: Tensor, length: int | Mapping[str, int]
) -> tuple[int | None, ...]:
    """The shape of an input, with the batch axis."""
    batch, *axes = tensor.spec.shape
    if None not in axes:
        return (batch, *axes)
    known = length
    if isinstance(length, Mapping):
        known = length.get(tensor.name, 0)
    if not isinstance(known, int) or known < 1:
        raise CutError(
            f"Expected a length of 1 or more for the input {tensor.name!r} of "
            f"shape {tuple(axes)}. Received: length={length!r}. Pass "
            "length=128, or a length for each input by name."
        )
    return (batch, *(known if n is None else n for n in axes))
