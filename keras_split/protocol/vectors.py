"""A half as one vector, as messages of a cohort carry it."""

from typing import Any

import numpy as np

from keras_split.compression.formats import floats_are_finite
from keras_split.compression.tensors import CutTensor
from keras_split.errors import ProtocolError

NAME = "half"


def to_tensors(vector: np.ndarray[Any, Any]) -> list[CutTensor]:
    """A vector as a message carries it: one tensor of shape `(1, size)`."""
    return [CutTensor(NAME, (1, vector.size), vector.reshape(1, -1))]


def from_tensors(
    tensors: list[CutTensor], size: int, dtype: str = "float32"
) -> np.ndarray[Any, Any]:
    """The one vector of a message, of shape `(size,)`.

    Raises:
        ProtocolError: With reason `"shape"`, if it is none of that size and
            dtype, or `"not-finite"`.
    """
    codes = tensors[0].codes if len(tensors) == 1 else None
    if codes is None or codes.dtype != dtype or codes.shape != (1, size):
        received = [(t.codes.dtype.name, t.codes.shape) for t in tensors]
        raise ProtocolError(
            f"Expected one vector of shape (1, {size}) and dtype {dtype}. "
            f"Received: {received}.",
            "shape",
        )
    if codes.dtype.kind == "f" and not floats_are_finite(codes):
        raise ProtocolError(
            "Expected finite numbers in a half. Received: NaN or infinity. "
            "Lower the learning rate.",
            "not-finite",
        )
    return codes.reshape(-1)
