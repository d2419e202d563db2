"""The end of a step: it changes all that it has to, or nothing."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_split.training.graph_checks import check
from keras_split.training.graph_checks import total

Assignments = Sequence[tuple[Any, tf.Tensor]]


def commit(
    optimizer: keras.optimizers.Optimizer,
    pairs: Sequence[tuple[tf.Tensor, Any]],
    state: Assignments,
    trained: Sequence[Any],
) -> None:
    """Updates weights and state in a graph, unless they would not be finite.

    Only the optimizer knows what it makes: finite gradients and a large rate
    become infinite weights, a small gradient squared an infinite slot. So it
    is let do, and taken back before anybody can look. What was there before
    is held and not copied: where a buffer is held, an operation writes into a
    new one.

    Args:
        optimizer: Updates the weights.
        pairs: Gradients, and what they are of.
        state: State variables and their new values, which are finite.
        trained: All that the optimizer may change, beside its slots.
    """
    if not pairs:
        _assign(state)
        return
    changing = [*trained, *optimizer.variables]
    before = _values(changing)
    with tf.control_dependencies(before):
        optimizer.apply_gradients(pairs)
    finite = tf.math.is_finite(total(_values(changing)))
    taken = tf.cond(
        finite,
        lambda: tf.constant(True),
        lambda: _put_back(list(zip(changing, before, strict=True))),
    )
    with tf.control_dependencies([check(taken, "update")]):
        _assign(state)


def is_float(variable: Any) -> bool:
    """Whether it holds floats, and not seeds or counts."""
    return bool(tf.as_dtype(variable.dtype).is_floating)


def _values(variables: Sequence[Any]) -> list[tf.Tensor]:
    """What they hold at this point of the graph."""
    return [tf.convert_to_tensor(variable.value) for variable in variables]


def _assign(values: Assignments) -> None:
    for variable, value in values:
        variable.assign(value)


def _put_back(values: Assignments) -> tf.Tensor:
    """Undoes a step; false, for it was not taken."""
    _assign(values)
    return tf.constant(False)
