"""Gradients of one variable that come from several places."""

from typing import Any

import tensorflow as tf


def add(one: Any, other: Any) -> Any:
    """The sum of two gradients; None is one that does not flow.

    Those of an `Embedding` name the rows they are of. They stay so, one
    behind the other, as in the gradient of a whole model.
    """
    if one is None or other is None:
        return other if one is None else one
    if _is_sparse(one) and _is_sparse(other):
        return tf.IndexedSlices(
            tf.concat([one.values, other.values], axis=0),
            tf.concat([one.indices, other.indices], axis=0),
            one.dense_shape,
        )
    return dense(one) + dense(other)


def dense(gradient: Any) -> Any:
    """A gradient with all its rows; None stays None."""
    return None if gradient is None else tf.convert_to_tensor(gradient)


def _is_sparse(gradient: Any) -> bool:
    return isinstance(gradient, tf.IndexedSlices)
