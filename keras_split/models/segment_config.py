"""What a saved half says of the layers of a segment."""

from typing import Any

import keras

from keras_split.errors import DataError


def serialized(segment: keras.Model) -> Any:
    """The config of a head, a body or a tail.

    Raises:
        DataError: If a layer has none, with its name.
    """
    try:
        return keras.saving.serialize_keras_object(segment)
    except Exception as error:  # whatever a get_config of others raises
        raise DataError(
            "Expected layers that Keras can save. Received: "
            f"{_culprit(segment)}, of which it cannot have the config "
            f"({type(error).__name__}: {str(error)[:300]}). Give its class a "
            "get_config with all that its __init__ takes; without one the "
            "halves train, and are not saved."
        ) from error


def _culprit(segment: keras.Model) -> str:
    for layer in segment.layers:
        try:
            keras.saving.serialize_keras_object(layer)
        except Exception:
            return f"{layer.name!r} of the class {type(layer).__name__}"
    return f"a layer of the {segment.name}"
