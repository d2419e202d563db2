"""Reads a TensorFlow operation: its shapes, attributes and constants.

Lowered gradients are built for one shape, so what they read must be known
when the half is traced. Whatever is not says so with an `ExportError`.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_split.errors import ExportError


def shape_of(op: tf.Operation, tensor: tf.Tensor) -> tuple[int, ...]:
    """The static shape of an input or output of `op`.

    Raises:
        ExportError: If any axis is unknown.
    """
    if not tensor.shape.is_fully_defined():
        raise ExportError(
            f"Expected static shapes around {op.type} {op.name!r}. Received: "
            f"{tensor.name!r} of shape {tensor.shape}. Export with a fixed "
            "batch size, and give the model an input shape without None."
        )
    return tuple(tensor.shape)


def image_shape(
    op: tf.Operation, tensor: tf.Tensor
) -> tuple[int, int, int, int]:
    """The static shape `(batch, height, width, channels)`.

    Raises:
        ExportError: If `op` has its channels first, or an axis is unknown.
    """
    layout = attribute(op, "data_format")
    if layout != "NHWC":
        raise ExportError(
            f"Expected the channels of {op.type} {op.name!r} to be last. "
            f"Received: data_format={layout!r}. Build the model with "
            "data_format='channels_last': LiteRT has no other."
        )
    batch, height, width, channels = shape_of(op, tensor)
    return batch, height, width, channels


def attribute(op: tf.Operation, name: str) -> Any:
    """An attribute of `op`; text as `str`."""
    value = op.get_attr(name)
    return value.decode() if isinstance(value, bytes) else value


def rows_and_columns(op: tf.Operation, name: str) -> tuple[int, int]:
    """The middle two of an attribute with one integer for each axis."""
    _, rows, columns, _ = op.get_attr(name)
    return rows, columns


def constant(op: tf.Operation, tensor: tf.Tensor) -> np.ndarray:
    """The value of an input of `op` that is known while tracing.

    Raises:
        ExportError: If it is computed at run time.
    """
    value = tf.get_static_value(tensor)
    if value is None:
        raise ExportError(
            f"Expected {tensor.name!r}, an input of {op.type} {op.name!r}, to "
            "be a constant. Received: a tensor computed at run time. Use "
            "Python integers there, or move that layer behind the cut."
        )
    return np.asarray(value)
