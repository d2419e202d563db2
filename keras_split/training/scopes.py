"""Scopes in a graph for layers whose names TensorFlow takes for none.

Keras lets a layer have any name without a slash, and opens a scope of that
name when it is called. TensorFlow knows ASCII alone, and no spaces.
"""

import re
from contextlib import AbstractContextManager

import keras

from keras_split.utils import keras_private


def valid_scopes(model: keras.Model) -> AbstractContextManager[None]:
    """Lets all layers of a model be called in a graph, whatever their names."""
    return keras_private.overridden(
        [
            keras_private.scoped(layer, scope_name(layer.name))
            for layer in keras_private.flatten_layers(model)
            if scope_name(layer.name) != layer.name
        ]
    )


def scope_name(name: str) -> str:
    """The scope in which a layer of that name is called.

    Example:
    >>> scope_name("conv 1"), scope_name("conv_1")
    ('conv_1', 'conv_1')
    """
    scope = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
    return scope if re.match(r"[A-Za-z0-9.]", scope) else f"x{scope}"
