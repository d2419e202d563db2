"""A server model on its way to another process."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_split.models import keras_file
from keras_split.models.server import ServerModel


@dataclass(frozen=True)
class SavedServer:
    """Makes a `ServerModel` like the one that it was made of.

    Attributes:
        content: Its `.keras` file.
        known: Classes and functions that were registered with Keras.
    """

    content: bytes
    known: dict[str, Any]

    @classmethod
    def of(cls, server: ServerModel) -> "SavedServer":
        """A copy of a model as it is now."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "server.keras")
            server.save(path)
            content = path.read_bytes()
        return cls(content, dict(keras.saving.get_custom_objects()))

    def __call__(self) -> ServerModel:
        """The model, in whichever process this is.

        Raises:
            DataError: If Keras does not know a class here.
        """
        keras.saving.get_custom_objects().update(self.known)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "server.keras")
            path.write_bytes(self.content)
            server: ServerModel = keras_file.load(path)
        return server
