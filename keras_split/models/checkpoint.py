"""The body that a server kept, back in its half of the model."""

import os
from pathlib import Path

import numpy as np

from keras_split.errors import DataError
from keras_split.models.server import ServerModel
from keras_split.server.body import odd_variables
from keras_split.server.storage import checkpoints


def load_checkpoint(server: ServerModel, path: str | os.PathLike[str]) -> Path:
    """Gives a body the weights, and the moment, of a checkpoint.

    The checkpoint stays as it is, and the server that writes it may run.

    Args:
        server: The server's half, trained or not.
        path: A checkpoint, or the folder of `serve --checkpoints`, of which
            the last is taken.

    Returns:
        The checkpoint.

    Raises:
        DataError: If there is none, or it is damaged or of another model;
            then the half is as it was.
    """
    state, found = checkpoints.read_last(
        path, server.contract.fingerprint, odd_variables(server.half)
    )
    variables = server.body.variables
    given = [tuple(np.shape(array)) for array in state.body]
    expected = [tuple(variable.shape) for variable in variables]
    if given != expected:
        raise DataError(
            f"Expected a checkpoint of this body, of {len(expected)} "
            f"variables. Received: {len(given)} in {str(found)!r}, or others. "
            "Take the server.keras that was served."
        )
    for variable, array in zip(variables, state.body, strict=True):
        variable.assign(array)
    server.moment = state.moment
    return found
