"""Scopes in a graph for layers whose names TensorFlow takes for none.

Keras lets a layer have any name without a slash, and opens a scope of that
name when it is called. TensorFlow knows ASCII alone, and no spaces: Keras
trains such a model eagerly, or with another backend.
"""

import re

import keras

from keras_split.utils import keras_private


def give_valid_scopes(model: keras.Model) -> None:
    """Lets all layers of a model be called in graphs, whatever their names.

    They keep their names.
    """
    for layer in keras_private.flatten_layers(model):
        scope = scope_name(layer.name)
        if scope != layer.name:
            keras_private.set_scope(layer, scope)


def scope_name(name: str) -> str:
    """The scope in which a layer of that name is called.

    Example:
    >>> scope_name("conv 1"), scope_name("conv_1")
    ('conv_1', 'conv_1')
    """
    scope = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
    return scope if re.match(r"[A-Za-z0-9.]", scope) else f"x{scope}"
