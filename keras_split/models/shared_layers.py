"""Layers that head and tail both call, in a saved client."""

from collections.abc import Collection

import keras

from keras_split.errors import DataError


def names(head: keras.Model, tail: keras.Model | None) -> list[str]:
    """Of the layers with variables that both call.

    Each half is saved as a model of its own, so that would be lost.

    Args:
        head: Of a client.
        tail: The same; None if there is none.

    Raises:
        DataError: If they have weights in common in another way, as a layer
            inside of a model or of another layer. Keras would save them
            once, and not load what was saved.
    """
    if tail is None:
        return []
    found = [
        layer
        for layer in tail.layers
        if layer.variables and layer in head.layers
    ]
    known = {id(v) for layer in found for v in layer.variables}
    mine = {id(v) for v in head.variables} - known
    lost = [v.path for v in tail.variables if id(v) in mine]
    if lost:
        raise DataError(
            "Expected a client whose head and tail have no weights in common "
            "but those of layers that both call themselves, to save it. "
            f"Received: {', '.join(lost[:3])}, of a layer inside of a model or "
            "of another layer. Call that layer in head and tail itself, or "
            "save weights alone: client.save_weights(...)."
        )
    return [layer.name for layer in found]


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
