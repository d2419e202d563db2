"""Layers that head and tail both call, in a saved client."""

from collections.abc import Collection

import keras


def names(head: keras.Model, tail: keras.Model | None) -> list[str]:
    """Of the layers with variables that both call.

    Each half is saved as a model of its own, so that would be lost.

    Args:
        head: Of a client.
        tail: The same; None if there is none.
    """
    return [
        layer.name
        for layer in (tail.layers if tail is not None else [])
        if layer.variables and layer in head.layers
    ]


def joined(
    head: keras.Model, tail: keras.Model, shared: Collection[str]
) -> keras.Model:
    """The tail, calling the layers of the head where it had copies of them.

    Args:
        head: As it was loaded.
        tail: The same.
        shared: What `names` said when they were saved.
    """
    made: keras.Model = keras.models.clone_model(
        tail,
        clone_function=lambda layer: (
            head.get_layer(layer.name) if layer.name in shared else layer
        ),
    )
    return made
